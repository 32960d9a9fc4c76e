/**
 * When the sidecar itself asks an MCP server for its tools: before a call of one that it does not
 * know is judged. What a server says of its tools bears on the decision, and an agent that never
 * lists must not escape it. Once for all who wait (mcp-listing.ts); where it fails, the tool counts
 * as one that writes (lib/mcp/definitions.ts).
 */
import { onAbort } from '../base/signal.ts';
import { authorize } from '../exchange/authorize.ts';
import type { ExchangeContext } from '../exchange/context.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { ToolDefinition } from '../policy/model/facts.ts';
import type { DescribedMcp } from './described.ts';
import { learned } from './mcp-learned.ts';
import { Listing } from './mcp-listing.ts';
import type { Outbound } from './outbound.ts';

const HARMLESS: ToolDefinition = Object.freeze({ state: 'pinned', hazardous: false });
const HAZARDOUS: ToolDefinition = Object.freeze({ state: 'pinned', hazardous: true });

export interface Listings {
  /**
   * The call as it is described when the server has been asked, or has not answered; undefined
   * where nothing has to be asked, because the tool is known, or the call is denied whatever the
   * server says.
   */
  before(
    described: DescribedMcp,
    exchange: Exchange,
    context: ExchangeContext,
  ): Promise<DescribedMcp> | undefined;
}

export function listings(outbound: Outbound): Listings {
  const underWay = new Map<string, Promise<void>>();
  return {
    before(described, exchange, context) {
      const { endpoint, facts } = described;
      const { tools, place } = endpoint;
      const { tool } = facts.mcp;
      if (tool === undefined || !tools.wanted(tool)) return undefined;
      // Where the call is denied whatever the server says of its tool, the server hears nothing.
      const mayPass = (definition: ToolDefinition): boolean => {
        const said = { ...described, facts: { ...facts, mcp: { ...facts.mcp, definition } } };
        return authorize(exchange, said, context).decision.effect === 'allow';
      };
      if (!mayPass(HARMLESS) && !mayPass(HAZARDOUS)) return undefined;
      let listing = underWay.get(place);
      if (listing === undefined) {
        tools.asking();
        listing = new Listing(described, exchange, { context, outbound })
          .run()
          .finally(() => underWay.delete(place));
        underWay.set(place, listing);
      }
      exchange.enter('deciding', Infinity, outbound.now());
      return unlessAborted(listing, exchange).then(() => learned(described));
    },
  };
}

async function unlessAborted(listing: Promise<void>, { signal }: Exchange): Promise<void> {
  let off = (): void => {};
  const aborted = new Promise<void>((resolve) => (off = onAbort(signal, () => resolve())));
  await Promise.race([listing, aborted]).finally(() => off());
}
