/** What was asked for, as records tell it, and a rule that would allow it. */

/** One record, as far as it says what was asked for. */
export interface Observation {
  /** Of a destination that reports; undefined: no destination had the host. */
  readonly destination: string | undefined;
  /** The deny rule that would have denied it. */
  readonly rule: string | undefined;
  readonly entry: string;
  readonly host: string;
  readonly port: number;
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly mcpMethod: string | undefined;
  readonly tool: string | undefined;
  readonly prompt: string | undefined;
  readonly resource: string | undefined;
}

/** An allow rule without a name. */
export interface ProposedRule {
  readonly action: string;
  /** As it is written in a document, by the key of the protocol. */
  readonly about: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;
}
