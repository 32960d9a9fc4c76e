/** Keys by the names that they had before. */
export const RENAMED: ReadonlyMap<string, string> = new Map([
  ['uses', 'maxCalls'],
  ['lasts', 'ttl'],
  ['open', 'maxOpenTasks'],
]);
