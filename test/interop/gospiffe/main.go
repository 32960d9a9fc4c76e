// A peer built on go-spiffe: a Workload API client, an mTLS server and an mTLS client.
//
//	gospiffe fetch            prints SPIFFE IDs, trust domains of bundles and a JWT-SVID for "crm"
//	gospiffe serve CALLER     serves mTLS on a free port, prints it, answers with the caller's ID
//	gospiffe get ADDRESS PEER      one GET over mTLS, prints status and body
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func pick(id string) workloadapi.X509SourceOption {
	return workloadapi.WithDefaultX509SVIDPicker(func(all []*x509svid.SVID) *x509svid.SVID {
		for _, one := range all {
			if one.ID.Path() == id {
				return one
			}
		}
		return all[0]
	})
}

func source(ctx context.Context) *workloadapi.X509Source {
	from, err := workloadapi.NewX509Source(ctx, pick(os.Getenv("PICK")))
	fail(err)
	return from
}

func fetch(ctx context.Context) {
	got, err := workloadapi.FetchX509Context(ctx)
	fail(err)
	for _, one := range got.SVIDs {
		fmt.Println("svid", one.ID)
	}
	for _, bundle := range got.Bundles.Bundles() {
		fmt.Println("bundle", bundle.TrustDomain().Name(), len(bundle.X509Authorities()))
	}
	token, err := workloadapi.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "crm"})
	fail(err)
	bundles, err := workloadapi.FetchJWTBundles(ctx)
	fail(err)
	local, err := jwtsvid.ParseAndValidate(token.Marshal(), bundles, []string{"crm"})
	fail(err)
	remote, err := workloadapi.ValidateJWTSVID(ctx, token.Marshal(), "crm")
	fail(err)
	fmt.Println("jwt", local.ID, remote.ID)
	_, err = workloadapi.ValidateJWTSVID(ctx, token.Marshal(), "other")
	fmt.Println("other audience refused:", err != nil)
}

func serve(ctx context.Context, caller string) {
	from := source(ctx)
	config := tlsconfig.MTLSServerConfig(from, from, tlsconfig.AuthorizeID(spiffeid.RequireFromString(caller)))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	fmt.Println(listener.Addr())
	server := &http.Server{TLSConfig: config, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
		fail(err)
		fmt.Fprintf(w, "%s %s from %s", r.Method, r.URL.Path, id)
	})}
	fail(server.ServeTLS(listener, "", ""))
}

func get(ctx context.Context, address, peer string) {
	from := source(ctx)
	config := tlsconfig.MTLSClientConfig(from, from, tlsconfig.AuthorizeID(spiffeid.RequireFromString(peer)))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	answer, err := client.Get("https://" + address + "/v1/whoami")
	fail(err)
	body, err := io.ReadAll(answer.Body)
	fail(err)
	fmt.Printf("%d %s\n", answer.StatusCode, body)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch os.Args[1] {
	case "fetch":
		fetch(ctx)
	case "serve":
		serve(ctx, os.Args[2])
	case "get":
		get(ctx, os.Args[2], os.Args[3])
	}
}
