/** All of it. */
import type { Attack } from './case.ts';
import { ADDRESSES } from './cases/addresses.ts';
import { AUTHORITY } from './cases/authority.ts';
import { FRAMING } from './cases/framing.ts';
import { HEADERS } from './cases/headers.ts';
import { MESSAGES } from './cases/messages.ts';
import { PATHS } from './cases/paths.ts';
import { PEERS } from './cases/peers.ts';
import { SECRETS } from './cases/secrets.ts';
import { TASKS } from './cases/tasks.ts';
import { TUNNELS } from './cases/tunnels.ts';

export const CORPUS: readonly Attack[] = Object.freeze([
  ...AUTHORITY,
  ...ADDRESSES,
  ...PEERS,
  ...FRAMING,
  ...HEADERS,
  ...PATHS,
  ...TUNNELS,
  ...MESSAGES,
  ...TASKS,
  ...SECRETS,
]);
