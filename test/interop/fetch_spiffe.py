"""Reads everything from the Workload API with the `spiffe` package and prints what it holds."""

from spiffe import WorkloadApiClient

with WorkloadApiClient() as client:
    context = client.fetch_x509_context()
    for svid in context.x509_svids:
        print("svid", svid.spiffe_id)
    for bundle in context.x509_bundle_set.bundles:
        print("bundle", bundle.trust_domain.name, len(bundle.x509_authorities))
    token = client.fetch_jwt_svid(audience={"crm"})
    valid = client.validate_jwt_svid(token.token, "crm")
    print("jwt", token.spiffe_id, valid.spiffe_id)
    try:
        client.validate_jwt_svid(token.token, "other")
        print("other audience accepted")
    except Exception as refused:
        print("other audience refused", type(refused).__name__)
