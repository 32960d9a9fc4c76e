/** An agent that speaks TLS inside a CONNECT tunnel, as clients do, and says raw bytes there. */
import { type TLSSocket, connect } from 'node:tls';
import { type TestAgent, type TestConnection, keepsOpen } from './agent.ts';
import { until } from './until.ts';

export interface TlsInTunnel {
  readonly line: TestConnection;
  readonly tls: TLSSocket;
  /** What was received inside so far, as latin1. */
  readonly text: string;
  write(data: string | Buffer): void;
  sees(what: string | RegExp): Promise<string>;
  /** All that was received inside, once it is over. */
  ended(): Promise<string>;
}

export interface TlsInTunnelOptions {
  /** PEM of the CA that the agent trusts. */
  readonly ca: string;
  readonly authority?: string;
  /** Default the host of the CONNECT. */
  readonly servername?: string;
  readonly alpn?: readonly string[];
  /** More field lines of the CONNECT, each with its line end. */
  readonly fields?: string;
}

/** CONNECT, and what comes before TLS. */
export async function openTunnel(
  agent: TestAgent,
  authority = 'api.example.com:443',
  fields = '',
): Promise<TestConnection> {
  const line = await agent.open();
  line.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
  await line.sees('\r\n\r\n');
  return line;
}

/** A tunnel with TLS up in it; rejects where the agent's handshake fails. */
export async function tlsInTunnel(
  agent: TestAgent,
  options: TlsInTunnelOptions,
): Promise<TlsInTunnel> {
  const { ca, authority = 'api.example.com:443', alpn } = options;
  const line = await openTunnel(agent, authority, options.fields);
  line.socket.removeAllListeners('data');
  const tls = connect({
    socket: line.socket,
    servername: options.servername ?? authority.replace(/:\d+$/, ''),
    ca,
    ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
  });
  const chunks: Buffer[] = [];
  let over = false;
  tls.on('data', (chunk: Buffer) => chunks.push(chunk));
  tls.on('close', () => (over = true)).on('end', () => ((over = true), line.socket.destroy()));
  await new Promise<void>((resolve, reject) => {
    tls.once('secureConnect', resolve).once('error', reject);
    tls.once('close', () => reject(new Error('closed before TLS was up')));
  });
  tls.on('error', () => (over = true));
  const text = (): string => Buffer.concat(chunks).toString('latin1');
  return {
    line,
    tls,
    get text() {
      return text();
    },
    write: (data) => void tls.write(data),
    sees: (what) =>
      until(`${String(what)} in ${JSON.stringify(text())}`, () =>
        (typeof what === 'string' ? text().includes(what) : what.test(text()))
          ? text()
          : over
            ? Promise.reject(new Error(`ended: ${text()}`))
            : undefined,
      ),
    ended: () =>
      until(
        'the tunnel is over',
        () => {
          if (!over && keepsOpen(text())) tls.end();
          return over ? text() || ' ' : undefined;
        },
        10_000,
      ).then((all) => all.trim()),
  };
}
