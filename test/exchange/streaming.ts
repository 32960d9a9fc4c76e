/** An answer that begins and does not end. */
import type { TestConnection } from '../support/agent.ts';
import type { TestAuthority } from '../support/authority.ts';
import type { TestProxy } from '../support/proxy.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';

/** Answers `/stream` with a head and a first piece, then nothing; everything else at once. */
export async function streaming(authority: TestAuthority): Promise<MtlsUpstream> {
  return mtlsUpstream({
    authority,
    http: (request, response) => {
      if (request.url !== '/stream') return void response.end('ok');
      response.writeHead(200);
      response.write('first');
    },
  });
}

export async function stream(proxy: TestProxy): Promise<TestConnection> {
  const line = await proxy.open();
  line.write('GET http://crm.internal/stream HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
  await line.sees('first');
  return line;
}
