/** Hosts whose names of things have slashes, which clients escape and which are refused. */
import type { AnyService, DestinationOf } from '../model/destination.ts';
import type { Note } from './row.ts';

const SLASHED: readonly (readonly [RegExp, string])[] = [
  [
    /^registry\.(?:npmjs\.org|yarnpkg\.com)$|(?:^|[.-])npm(?:[.-]|$)|^verdaccio\./,
    'npm asks for scoped packages as @scope%2Fname',
  ],
  [/(?:^|[.-])gitlab(?:[.-]|$)/, 'clients of GitLab ask for projects as group%2Fproject'],
  [
    /^(?:firebasestorage|storage)\.googleapis\.com$/,
    'clients of Cloud Storage ask for objects as folder%2Fname',
  ],
  [/(?:^|[.-])rabbitmq(?:[.-]|$)/, 'clients of RabbitMQ ask for the first virtual host as %2F'],
];

export function noteOnSlashes({ hosts, paths }: DestinationOf<AnyService>): Note | undefined {
  if (paths?.encodedSlash === true) return undefined;
  const found = SLASHED.find(([names]) => hosts.some(({ host }) => names.test(host)));
  if (found === undefined) return undefined;
  return {
    message: `${found[1]}, which is refused`,
    fix: 'if it is to pass, write paths: { encodedSlash: keep }',
  };
}
