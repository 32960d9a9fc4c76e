/** `chaperone schema`: the JSON Schema of the documents, for editors. */
import { jsonSchema } from '../../lib/config/reference/json-schema.ts';
import type { Io } from '../io.ts';

export function schema(io: Io): void {
  io.out(JSON.stringify(jsonSchema(), null, 2));
}
