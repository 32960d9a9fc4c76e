//! Reads everything from the Workload API with the `spiffe` crate and prints what it holds.
use spiffe::WorkloadApiClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = WorkloadApiClient::connect_env().await?;
    for svid in client.fetch_all_x509_svids().await? {
        println!("svid {}", svid.spiffe_id());
    }
    for (trust_domain, bundle) in client.fetch_x509_context().await?.bundle_set().iter() {
        println!("bundle {} {}", trust_domain, bundle.authorities().len());
    }
    let svid = client.fetch_jwt_svid(["crm"], None).await?;
    let valid = client.validate_jwt_token("crm", svid.token()).await?;
    println!("jwt {} {}", svid.spiffe_id(), valid.spiffe_id());
    let other = client.validate_jwt_token("other", svid.token()).await;
    println!("other audience refused {}", other.is_err());
    Ok(())
}
