/**
 * Every way in that there is. Each outcome of the access matrix must be here
 * (test/attacks/coverage.test.ts).
 */
import {
  CLEARTEXT,
  CLEARTEXT_STREAMS,
  CLEARTEXT_WEBSOCKET,
  CONNECT_INSPECTED,
} from './cleartext.ts';
import type { Entry } from './entry.ts';
import { CONNECT_INTERCEPTED, INTERCEPTED_WEBSOCKET } from './intercept.ts';
import { INTERCEPTED } from './intercepted.ts';
import { FORWARD, FORWARD_WEBSOCKET, LISTENER, LISTENER_WEBSOCKET } from './requests.ts';
import { INTERCEPTED_STREAMS, LISTENER_STREAMS } from './streams.ts';
import { CONNECT_PASSTHROUGH, CONNECT_TCP, LISTENER_TCP } from './tunnels.ts';

export const ENTRIES: readonly Entry[] = Object.freeze([
  FORWARD,
  LISTENER,
  FORWARD_WEBSOCKET,
  LISTENER_WEBSOCKET,
  CONNECT_PASSTHROUGH,
  CONNECT_TCP,
  LISTENER_TCP,
  INTERCEPTED,
  LISTENER_STREAMS,
  INTERCEPTED_STREAMS,
  INTERCEPTED_WEBSOCKET,
  CONNECT_INTERCEPTED,
  CLEARTEXT,
  CLEARTEXT_STREAMS,
  CLEARTEXT_WEBSOCKET,
  CONNECT_INSPECTED,
]);
