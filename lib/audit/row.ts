/** Rows of the table of records: how a field is written, and its sentence on the reference page. */

export interface Row<T = unknown> {
  /** Text from outside, which is cut to a stated length; a map is written in order of its names. */
  readonly form: 'own' | 'outside' | 'map';
  readonly required: boolean;
  readonly doc: string;
  /** For the type alone: never there. */
  readonly value?: T;
}

interface RequiredRow<T> extends Row<T> {
  readonly required: true;
}

interface OptionalRow<T> extends Row<T> {
  readonly required: false;
}

export type Rows = Readonly<Record<string, Row>>;

type ValueOf<R> = R extends Row<infer T> ? T : never;

/** The members of a record with these rows. */
export type Members<R extends Rows> = {
  readonly [K in keyof R as R[K] extends RequiredRow<unknown> ? K : never]: ValueOf<R[K]>;
} & {
  readonly [K in keyof R as R[K] extends RequiredRow<unknown> ? never : K]?:
    ValueOf<R[K]> | undefined;
};

/** A value that the sidecar made itself: written as it is. */
export function own<T extends string | number | true = string>(doc: string): RequiredRow<T> {
  return Object.freeze({ form: 'own', required: true, doc });
}

/** Text that somebody else may have written. */
export function outside(doc: string): RequiredRow<string> {
  return Object.freeze({ form: 'outside', required: true, doc });
}

/** Values by name. */
export function map<T extends string | number>(
  doc: string,
): RequiredRow<Readonly<Record<string, T>>> {
  return Object.freeze({ form: 'map', required: true, doc });
}

/** A field that is left out where there is nothing to say. */
export function optional<T>(row: RequiredRow<T>): OptionalRow<T> {
  return Object.freeze({ form: row.form, required: false, doc: row.doc });
}
