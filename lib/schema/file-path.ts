/** The path of a file, as a document writes it. */
import { Fault } from '../base/fault.ts';
import { quote } from '../net/host.ts';
import { text } from './decode.ts';

export function hasControl(value: string): boolean {
  return Array.from(value).some((char) => char < ' ' || char === '\u007f');
}

export const filePath = text({
  is: 'a file path',
  example: '/var/log/chaperone/audit.jsonl',
  parse(value) {
    if (value !== '' && !hasControl(value) && !value.endsWith('/')) return value;
    throw new Fault('config', `${quote(value)} is not a file path`, {
      hint: 'write a path; a relative one begins at the folder of this document',
    });
  },
});
