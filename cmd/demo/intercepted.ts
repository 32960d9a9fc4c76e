/**
 * The part of the story about https:// URLs: the agent's TLS ends at the sidecar, where each
 * request is judged, and starts anew towards a service that proves its name.
 */
import { SAAS_HOST } from './documents.ts';
import type { Stage } from './setup.ts';
import { ask as asks, type Answer, type Step } from './check.ts';

export const INTERCEPTED: readonly Step[] = [
  {
    title:
      'The agent says https:// to a service on the web; what it asks is judged inside the ' +
      'TLS, and allowed',
    check: allowed,
  },
  {
    title:
      'Another request to the same service, which no rule allows, is denied: a tunnel ' +
      'hides nothing, and the service hears nothing',
    check: denied,
  },
];

function ask(stage: Stage, method: string, path: string): Promise<Answer> {
  return asks(stage, method, `https://${SAAS_HOST}${path}`);
}

async function allowed(stage: Stage): Promise<string> {
  const { status, body } = await ask(stage, 'GET', '/v1/models');
  if (status !== 200 || !body.includes(SAAS_HOST))
    throw new Error(`the agent got ${status} ${body}`);
  const seen = stage.saas.requests().at(-1);
  if (seen !== 'GET /v1/models') throw new Error(`the service was asked ${seen}`);
  const inside = /"entry":"intercept","tunnel":"([0-9a-f-]+)"[^\n]*"path":"\/v1\/models"/.exec(
    await stage.audit(),
  );
  if (inside === null) throw new Error('there is no record of the request inside the tunnel');
  return `200; recorded as GET /v1/models inside tunnel ${inside[1]?.slice(0, 8)}…`;
}

async function denied(stage: Stage): Promise<string> {
  const before = stage.saas.requests().length;
  const { status, body } = await ask(stage, 'DELETE', '/v1/models/1');
  if (status !== 403) throw new Error(`the agent got ${status} ${body}`);
  if (stage.saas.requests().length !== before) throw new Error('the service was asked');
  return `403 ${body.replace(/ \[chaperone: .*/s, '')}`;
}
