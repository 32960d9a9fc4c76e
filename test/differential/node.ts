/** node:http as a peer like the others; it keeps all lines in their order. */
import { nodeJudgesElsewhere, nodeReads, nodeShows } from '../http1/node-reader.ts';
import type { Peer, PeerReading } from './peer.ts';

export async function nodePeer(): Promise<Peer> {
  return {
    name: 'node:http',
    roles: ['request', 'response'],
    acceptedOnly: false,
    async read(role, messages) {
      const readings: PeerReading[] = [];
      for (const text of messages) {
        const { seen, refused } = await nodeReads(role, text);
        readings.push({ shown: seen[0], refused: refused ? 'refused' : undefined });
      }
      return readings;
    },
    shows: (_role, meant) => nodeShows(meant).seen[0],
    excuse: (role, meant) =>
      role === 'request' && nodeJudgesElsewhere(meant) ? 'method or target' : undefined,
    async [Symbol.asyncDispose]() {},
  };
}
