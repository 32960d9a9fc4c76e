/** What a Destination says whose connections are judged once: when one may be made. */
import type { TcpService } from '../../policy/protocols/tcp.ts';
import type { Conditions } from './rule.ts';

export function compileTcp(_: unknown, conditions: Conditions): TcpService {
  return Object.freeze({ protocol: 'tcp', when: conditions.get('own') });
}
