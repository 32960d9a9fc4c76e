/** How a connection of HTTP/2 from a client is served. */
import type { ServeOptions } from '../http1/serve-options.ts';
import type { Scheme } from './head.ts';
import type { Http2Limits } from './limits.ts';

export interface Http2Options extends ServeOptions {
  /**
   * What `:scheme` must say: `https` where TLS ends here, `http` for prior knowledge in the clear.
   */
  readonly scheme: Scheme;
  readonly http2?: Http2Limits;
}
