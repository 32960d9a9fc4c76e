/**
 * resolv.conf(5) and hosts(5), read by us because names are resolved by us. Both are read
 * again when they have changed; a file that is not there says nothing.
 */
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';

/** Settings of resolv.conf that count; everything else in it is left aside. */
export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  /** A name with so many dots is asked for as it stands before the search list is tried. */
  readonly ndots: number;
  /** Milliseconds for one question to one server. */
  readonly timeout: number;
  readonly attempts: number;
}

/** As the C library bounds them. */
const MAX_SERVERS = 3;
const MAX_SEARCHED = 32;
const MAX_NDOTS = 15;
const MAX_SECONDS = 30;
const MAX_ATTEMPTS = 5;

export function parseResolvConf(text: string): ResolvConf {
  let servers: string[] = [];
  let search: readonly string[] = [];
  const numbers = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (/^[#;]/.test(line)) continue;
    const [key = '', ...words] = line.trim().split(/\s+/);
    if (key === 'nameserver' && isIP(words[0] ?? '') !== 0) servers = [...servers, words[0] ?? ''];
    else if (key === 'search') search = words;
    else if (key === 'domain') search = words.slice(0, 1);
    else if (key === 'options') {
      for (const word of words) {
        const [, name = '', digits] = /^(\w+):(\d{1,5})$/.exec(word) ?? [];
        if (digits !== undefined) numbers.set(name, Number(digits));
      }
    }
  }
  const number = (name: string, fallback: number, most: number): number =>
    Math.min(numbers.get(name) ?? fallback, most);
  return Object.freeze({
    servers: servers.length === 0 ? ['127.0.0.1'] : servers.slice(0, MAX_SERVERS),
    search: search
      .map((domain) => domain.replace(/^\.|\.$/g, '').toLowerCase())
      .slice(0, MAX_SEARCHED),
    ndots: number('ndots', 1, MAX_NDOTS),
    timeout: Math.max(number('timeout', 5, MAX_SECONDS), 1) * 1000,
    attempts: Math.max(number('attempts', 2, MAX_ATTEMPTS), 1),
  });
}

/** Names in lower case to their addresses, in order. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

export function parseHosts(text: string): Hosts {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = (line.split('#', 1)[0] ?? '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names.map((text) => text.toLowerCase())) {
      const known = hosts.get(name);
      if (known === undefined) hosts.set(name, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return hosts;
}

/** The candidates for a name that the operator wrote, in the order in which they are asked for. */
export function candidates(
  name: string,
  { search, ndots }: Pick<ResolvConf, 'search' | 'ndots'>,
): readonly string[] {
  const longer = search.filter((domain) => domain !== '').map((domain) => `${name}.${domain}`);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...longer] : [...longer, name];
}

/** A file as of its last change; looked at for each name, which costs a system call. */
export function watched<T>(path: string, parse: (text: string) => T): () => T {
  let seen: string | undefined;
  let value = parse('');
  return () => {
    try {
      const { mtimeMs, ctimeMs, ino, dev, size } = statSync(path);
      const now = [mtimeMs, ctimeMs, ino, dev, size].join();
      if (now !== seen) value = parse(readFileSync(path, 'utf8'));
      seen = now;
    } catch {
      seen = undefined;
      value = parse('');
    }
    return value;
  };
}
