/** Every list. */
import type { Sabotage } from '../sabotage.ts';
import { CLIENTS } from './clients.ts';
import { CONDITIONS } from './conditions.ts';
import { CONFIG } from './config.ts';
import { ENDS } from './ends.ts';
import { HTTP } from './http.ts';
import { HTTP2 } from './http2.ts';
import { IDENTITY } from './identity.ts';
import { MCP } from './mcp.ts';
import { INTERCEPT } from './intercept.ts';
import { POLICY } from './policy.ts';
import { PROCESS } from './process.ts';
import { PROXY } from './proxy.ts';
import { AGENTS } from './agents.ts';
import { TASK_DOORS } from './task-doors.ts';
import { TASK_LIMITS } from './task-limits.ts';
import { TASKS } from './tasks.ts';
import { TUNNEL } from './tunnel.ts';
import { UPSTREAMS } from './upstreams.ts';
import { WAYS } from './ways.ts';

export const SABOTAGES: readonly Sabotage[] = Object.freeze([
  ...POLICY,
  ...CONDITIONS,
  ...HTTP,
  ...HTTP2,
  ...ENDS,
  ...PROCESS,
  ...PROXY,
  ...TUNNEL,
  ...IDENTITY,
  ...CONFIG,
  ...MCP,
  ...INTERCEPT,
  ...TASKS,
  ...AGENTS,
  ...TASK_DOORS,
  ...TASK_LIMITS,
  ...UPSTREAMS,
  ...WAYS,
  ...CLIENTS,
]);
