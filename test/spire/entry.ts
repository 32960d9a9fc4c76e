/**
 * Registration entries, as `spire-server entry` takes them and as its answers and the agent's log
 * speak of them.
 */

export interface Entry {
  /** A whole SPIFFE ID, or its path in the server's trust domain: `/agents/research`. */
  readonly spiffeId: string;
  /** All must hold; default: any process of this user. */
  readonly selectors?: readonly string[];
  /** Of the X509-SVID, in seconds; default an hour. */
  readonly ttl?: number;
  /** Of JWT-SVIDs, in seconds; default five minutes. */
  readonly jwtTtl?: number;
  readonly hint?: string;
  readonly dns?: readonly string[];
  /** Trust domains whose bundles the holder gets; the server must know them. */
  readonly federatesWith?: readonly string[];
}

/** Every process of the user who runs the tests. */
export function ownUser(): string {
  const uid = process.getuid?.();
  if (uid === undefined) throw new Error('SPIRE tests need an operating system with user IDs');
  return `unix:uid:${uid}`;
}

/**
 * The arguments of `spire-server entry create`. The parent is the name that `up` gives to every
 * agent it starts.
 */
export function entryArguments(entry: Entry, trustDomain: string): readonly string[] {
  const id = entry.spiffeId.startsWith('/')
    ? `spiffe://${trustDomain}${entry.spiffeId}`
    : entry.spiffeId;
  const args = ['-parentID', `spiffe://${trustDomain}/spire-dev/agent`, '-spiffeID', id];
  for (const selector of entry.selectors ?? [ownUser()]) args.push('-selector', selector);
  if (entry.ttl !== undefined) args.push('-x509SVIDTTL', String(entry.ttl));
  if (entry.jwtTtl !== undefined) args.push('-jwtSVIDTTL', String(entry.jwtTtl));
  if (entry.hint !== undefined) args.push('-hint', entry.hint);
  for (const name of entry.dns ?? []) args.push('-dns', name);
  for (const other of entry.federatesWith ?? []) args.push('-federatesWith', `spiffe://${other}`);
  return args;
}

/**
 * The ID in the answer of `entry create -output json`, which ends with 0 even when the server
 * refused the entry.
 */
export function createdId(answer: string): string {
  const { results } = JSON.parse(answer) as {
    readonly results?: readonly {
      readonly status?: { readonly code?: number; readonly message?: string };
      readonly entry?: { readonly id?: string };
    }[];
  };
  const result = results?.[0];
  const id = result?.entry?.id;
  if (result?.status?.code !== 0 || id === undefined || id === '') {
    throw new Error(`the server refused the entry: ${result?.status?.message ?? answer}`);
  }
  return id;
}

/** What the agent's log says last of an entry: whether the agent holds an SVID for it. */
export function lastWord(log: string, id: string): 'present' | 'absent' {
  const got = log.lastIndexOf(`msg="SVID updated" entry=${id} `);
  const lost = log.lastIndexOf(`msg="Entry removed" entry=${id} `);
  return got > lost ? 'present' : 'absent';
}
