/** Which program this is. */

/** As package.json has it, which a test holds. */
export const VERSION = '0.1.0';

/** Put there by deploy/bundle.ts; not there where the sources run. */
declare const CHAPERONE_COMMIT: string | undefined;

/** The commit of a bundle; undefined where it is not known, or the sources run. */
export const COMMIT =
  typeof CHAPERONE_COMMIT === 'string' && CHAPERONE_COMMIT !== '' ? CHAPERONE_COMMIT : undefined;
