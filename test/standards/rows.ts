/**
 * What the SPIFFE standards ask of Chaperone, in our words, and what we ask of ourselves beside
 * them. A test says in its title which rows it proves: `(X-08, X-20)`. docs/standards.md is made of
 * this and of those titles; a row without a test, or an id without a row, is an error.
 */

/** How binding it is: the standard's word, or `ours` where we go beyond it. */
export type Force = 'must' | 'should' | 'may' | 'ours';

export interface Row {
  readonly id: string;
  readonly force: Force;
  /** Sections of the documents, by the short names in DOCUMENTS. */
  readonly from: string;
  readonly asks: string;
}

export interface Group {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** Short name, and the file under `standards/` of github.com/spiffe/spiffe. */
export const DOCUMENTS: Readonly<Record<string, string>> = Object.freeze({
  WE: 'SPIFFE_Workload_Endpoint.md',
  WA: 'SPIFFE_Workload_API.md',
  ID: 'SPIFFE-ID.md',
  XS: 'X509-SVID.md',
  JS: 'JWT-SVID.md',
  WS: 'WIT-SVID.md',
  TB: 'SPIFFE_Trust_Domain_and_Bundle.md',
  FD: 'SPIFFE_Federation.md',
});

const must = (id: string, from: string, asks: string): Row => ({ id, force: 'must', from, asks });
const should = (id: string, from: string, asks: string): Row => ({
  id,
  force: 'should',
  from,
  asks,
});
const may = (id: string, from: string, asks: string): Row => ({ id, force: 'may', from, asks });
const ours = (id: string, asks: string): Row => ({ id, force: 'ours', from: '', asks });

const CLIENT: readonly Row[] = [
  must('C-01', 'WE 4', 'A configured address wins; without one, SPIFFE_ENDPOINT_SOCKET counts.'),
  must('C-02', 'WE 4', 'The address is a URI of scheme unix or tcp.'),
  must('C-03', 'WE 4', 'unix: no authority, an absolute path and nothing else.'),
  must('C-04', 'WE 4', 'tcp: an IP address and a port, nothing else; names are not taken.'),
  ours('C-05', 'Two slashes after unix: are refused with the spelling that was meant.'),
  ours('C-06', 'No address at all is an error that names the variable; there is no default.'),
  must('C-10', 'WE 3', 'The Workload API is spoken over gRPC.'),
  must('C-11', 'WE 3', 'Every call carries the metadata workload.spiffe.io: true.'),
  must('C-12', 'WE 3.1', 'TLS is not needed to reach the Workload API.'),
  ours('C-14', 'The gRPC service has no package: its path is /SpiffeWorkloadAPI/….'),
  ours(
    'C-15',
    'A plain :authority is sent over a Unix socket; many servers refuse an escaped one.',
  ),
  ours('C-16', 'Messages above what gRPC libraries take by themselves are read, up to a bound.'),
  should(
    'C-20',
    'WA 4.2',
    'A stream stays open and is opened anew when it ends, at once and then with back-off, which ' +
      'starts over only after a good message.',
  ),
  must('C-21', 'WA 4.3, 4.4', 'Each message is the whole state: it replaces, and is never merged.'),
  must('C-22', 'WA 4.4', 'An empty field means empty; what was there before is not kept.'),
  should('C-23', 'WA 4.4, 5.2', 'What a message leaves out is withdrawn.'),
  should(
    'C-24',
    'WA 4.5',
    'A message with a mandatory field empty is discarded and reported. An empty bundle of another ' +
      'trust domain is a revocation, not an error.',
  ),
  should('C-25', 'WA 5.2, 6.2', 'PermissionDenied ends the use of all that the stream supplied.'),
  ours('C-26', 'An API that is away costs nothing: the SVID is used until it expires.'),
  should('C-27', 'WA 8', 'The first SVID is the default; their order is kept.'),
  should('C-28', 'WA 5.2.1', 'Of several SVIDs with one hint the first counts.'),
  may('C-29', 'WA 8', 'An expected SVID that is not there is never replaced by another.'),
  must('C-30', 'WA 5.2.2, 6.2.2', 'X.509 bundles verify X509-SVIDs alone, JWT bundles JWT-SVIDs.'),
  must('C-31', 'WA 4.6, FD 4.2', "The peer's own trust domain has the bundle that counts."),
  ours('C-32', 'SVID, own and federated bundles are one snapshot.'),
  should('C-40', 'WE 6', 'InvalidArgument is reported and not asked again.'),
  should(
    'C-41',
    'WE 6',
    'Unavailable, or a socket that is not there, is asked again with back-off.',
  ),
  should('C-42', 'WE 6', 'PermissionDenied is asked again with back-off.'),
  must('C-43', 'WE A', 'Unimplemented is reported. (We ask again, gently: servers are upgraded.)'),
  ours('C-44', 'CANCELLED from the server is asked again; only our own cancel ends the watch.'),
  ours('C-45', 'Every other status is asked again, with back-off spread over its whole range.'),
  must(
    'C-50',
    'WA 5.2',
    'Chains and bundles are concatenated DER, keys are PKCS #8, to the last byte.',
  ),
  must('C-51', 'WA 5.2', 'The numbers of the fields are those of the standard.'),
  must('C-52', 'WA 5.2.2', "Keys of bundle maps are trust domains' SPIFFE IDs or bare names."),
  must('C-53', 'WA 6.2.2', 'JWT bundles are JWK Sets.'),
  ours(
    'C-53a',
    'Keys of the Workload API may lack `use`, as SPIRE sends them; in SPIFFE bundle documents they ' +
      'may not.',
  ),
  ours('C-54', 'One malformed bundle or SVID costs itself alone.'),
  ours('C-55', 'What arrives is verified: key, SPIFFE ID, dates, path to its own bundle.'),
  ours('C-56', 'What one message may hold is bounded.'),
  may('C-57', 'WA 5.2.1', 'CRLs are read and counted; they are not enforced.'),
  must(
    'C-60',
    'WA 6.2.1',
    'A JWT-SVID is asked for with an audience; without an ID, all identities.',
  ),
  should('C-61', 'WA 6.3', 'Validation of our own is equal to ValidateJWTSVID of the server.'),
];

const SERVER: readonly Row[] = [
  must('S-01', 'WE 3', 'gRPC on a Unix socket; never TCP where anybody could connect.'),
  should('S-02', 'WE 2', 'It is of this host alone.'),
  must('S-03', 'WE 3, 6', 'A call without exactly one security header is InvalidArgument.'),
  must('S-05', 'WE 7, WA 2', 'The Workload API is served whole and not extended.'),
  must('S-07', 'WA 1, 7', 'The X.509 and JWT profiles are served; WIT-SVID is Unimplemented.'),
  must('S-08', 'WA 4.3', 'The first message comes at once; each is the whole state.'),
  should('S-10', 'WA 4.5', 'A request that lacks something mandatory is InvalidArgument.'),
  should('S-11', 'WE 6', 'No identity is PermissionDenied; not ready yet is Unavailable.'),
  must('S-12', 'WA 5.2.1', 'Hints are unique in a message.'),
  must('S-13', 'WA 5.2, 6.2.2', 'Every field but the hint is set; the own trust domain is there.'),
  must('S-14', 'WA 6.2.2', 'JWT bundles hold keys of no other use.'),
  must('S-15', 'WA 6.2.1', 'All identities without an ID; PermissionDenied for one of another.'),
  must('S-16', 'WA 6.2.3', 'ValidateJWTSVID keeps every rule of JWT-SVIDs.'),
  should('S-17', 'WA 5.2.1', 'A withdrawn identity ends the stream with PermissionDenied.'),
  ours('S-18', 'The same message is not sent twice.'),
  ours('S-19', 'Leaves say CA:FALSE, their key usage and both extended usages outright.'),
  ours('S-20', 'Clients of other make read it: Go, Python, Rust.'),
  ours('S-21', 'Faults can be switched on, one by one, to test clients with.'),
  ours('S-22', 'It attests nobody and says so; folder 0700, socket 0600.'),
];

const IDS: readonly Row[] = [
  must('I-01', 'ID 2', 'Scheme spiffe, a trust domain, no query, no fragment.'),
  must('I-02', 'ID 2.1', 'No user information and no port.'),
  must('I-03', 'ID 2.1', 'Trust domains are of a-z, 0-9, dot, dash and underscore.'),
  must('I-04', 'ID 2.1', 'Names that look like addresses or odd DNS names are names like others.'),
  must(
    'I-05',
    'ID 2.2',
    'Path segments are not empty, not dots, without escapes; no slash at the end.',
  ),
  must('I-06', 'ID 2.3', 'IDs of up to 2048 bytes are taken; trust domains of up to 255.'),
  ours(
    'I-07',
    'Upper case in scheme or trust domain is refused, not folded (ID 2.1 and 2.4 differ).',
  ),
  must('I-08', 'ID 2.4', 'Paths are compared byte for byte.'),
  ours('I-09', 'IDs are read by a scanner of bytes, which changes nothing that it takes.'),
  ours('I-10', "The spelling of a CA's ID does not fail a chain (TB A has a trailing slash)."),
];

const X509: readonly Row[] = [
  must('X-01', 'XS 2, 5.2', 'Exactly one URI name; names of other kinds do no harm.'),
  must('X-02', 'XS 3.1, 5.2', 'It is a SPIFFE ID with a path.'),
  must('X-03', 'XS 4.1, 5.2', 'A leaf is no CA.'),
  should('X-07', 'XS 4.4', 'An extended key usage, where there is one, has the role in use.'),
  must('X-08', 'XS 5.1', 'The path is validated as RFC 5280 has it, dates included.'),
  must('X-09', 'WA 4.6, FD 7.3', "Only the bundle of the leaf's own trust domain counts."),
  must('X-10', 'XS 3.2', 'A signing certificate authenticates nobody.'),
  must('X-20', 'XS 3.2, 4.1, 4.3', 'A signing certificate is a CA with a critical keyCertSign.'),
  must('X-21', 'XS 3.2', 'Its SPIFFE ID, if it has one, has no path.'),
  may('X-22', 'XS 4.1, 4.2', 'Path lengths and name constraints are kept.'),
  must('X-30', 'XS 6.1', 'An anchor need not be self-signed.'),
];

const JWT: readonly Row[] = [
  must('J-01', 'JS 1, 5.1', 'Compact serialization alone.'),
  must('J-02', 'JS 2.1, 4', 'RS, ES and PS with 256, 384 and 512, and no other algorithm.'),
  must('J-03', 'JS 4', 'The algorithm fits the key.'),
  may('J-04', 'JS 2.2', 'Without a key ID, a bounded number of keys that fit is tried.'),
  must('J-05', 'JS 2.3', 'The type is JWT, JOSE or absent.'),
  must('J-06', 'JS 2', 'No other header parameter; keys that a token brings are never used.'),
  must('J-07', 'JS 3.1, WA 6.3', 'The subject is a SPIFFE ID, and its trust domain has the keys.'),
  must('J-08', 'JS 3.2', 'The audience holds the one that validates.'),
  must('J-09', 'JS 3.3, 4', 'It has an expiry and is neither past it nor ahead of its start.'),
  must('J-10', 'JS 6.1, 6.2', 'Keys of SPIFFE bundles are of use jwt-svid.'),
  should('J-11', 'JS 5.2', 'It is sent as a bearer token in Authorization.'),
  should('J-12', 'JS 3.2, 7.2', 'One audience for each token.'),
  ours('W-06', 'A WIT-SVID is no JWT-SVID (WS 2.2).'),
];

const BUNDLES: readonly Row[] = [
  must('B-01', 'TB 4.1', 'A bundle is a JWK Set with `keys`; unknown members do no harm.'),
  must('B-04', 'TB 4.1.3, 4.2', 'A key of unknown type or use is ignored, and the bundle is not.'),
  must('B-05', 'TB 4.1.3', 'Without usable keys no SVID of the trust domain is trusted.'),
  should('B-07', 'TB 6.2', 'A root key is of one trust domain.'),
];

export const GROUPS: readonly Group[] = Object.freeze([
  { title: 'Workload API: the client', rows: CLIENT },
  { title: 'Workload API: the embedded server for development', rows: SERVER },
  { title: 'SPIFFE IDs', rows: IDS },
  { title: 'X509-SVIDs', rows: X509 },
  { title: 'JWT-SVIDs', rows: JWT },
  { title: 'Bundles', rows: BUNDLES },
]);
