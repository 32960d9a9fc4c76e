// The reference implementation of gRPC in Go as server and as client, without generated code:
// messages are bytes.
//
//	grpcgo serve CERT KEY CA        mutual TLS on 127.0.0.1:0; prints the address
//	grpcgo call ADDRESS       the four kinds of calls, a denied one and a deadline; one line each
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type raw []byte

type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*raw), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*raw) = append(raw{}, data...); return nil }
func (bytesCodec) Name() string                       { return "bytes" }

func main() {
	encoding.RegisterCodec(bytesCodec{})
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 3 && os.Args[1] == "call":
		err = call(os.Args[2])
	default:
		err = fmt.Errorf("usage: grpcgo serve CERT KEY CA | grpcgo call ADDRESS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(certFile, keyFile, caFile string) error {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	anchors := x509.NewCertPool()
	anchors.AppendCertsFromPEM(pem)
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    anchors,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ForceServerCodec(bytesCodec{}),
		grpc.UnknownServiceHandler(answer),
		grpc.MaxRecvMsgSize(64<<20),
		// Connections end all the time: GOAWAY under load.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge:      300 * time.Millisecond,
			MaxConnectionAgeGrace: 5 * time.Second,
		}),
	)
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

// Every method: `Fail` fails, `Hang` waits for the end of the call, all others send each message
// back and a trailer at the end.
func answer(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	stream.SetTrailer(metadata.Pairs("x-trailer", "kept"))
	for {
		var message raw
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch name {
		case "/billing.v1.Invoices/Fail":
			return status.Error(codes.NotFound, "no invoice “7”")
		case "/billing.v1.Invoices/Hang":
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

func call(address string) error {
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithDisableRetry(),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	unary := func(ctx context.Context, method string, value string) (string, metadata.MD, error) {
		in, out, trailer := raw(value), raw{}, metadata.MD{}
		err := connection.Invoke(ctx, "/billing.v1.Invoices/"+method, &in, &out, grpc.Trailer(&trailer))
		return string(out), trailer, err
	}
	value, trailer, err := unary(ctx, "Get", "invoice")
	fmt.Println("unary", value, trailer.Get("x-trailer"), err)
	_, _, err = unary(ctx, "Fail", "x")
	fmt.Println("fail", status.Code(err), status.Convert(err).Message())
	_, _, err = unary(ctx, "Denied", "x")
	fmt.Println("denied", status.Code(err), status.Convert(err).Message())
	short, stop := context.WithTimeout(ctx, 400*time.Millisecond)
	_, _, err = unary(short, "Hang", "x")
	stop()
	fmt.Println("deadline", status.Code(err))
	large := make([]byte, 8<<20)
	value, _, err = unary(ctx, "Get", string(large))
	fmt.Println("large", len(value), err)
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, both, "/billing.v1.Invoices/Chat")
	if err != nil {
		return err
	}
	count := 0
	for i := 0; i < 100; i++ {
		in, out := raw(fmt.Sprint("message ", i)), raw{}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
		if err := stream.RecvMsg(&out); err != nil {
			return err
		}
		if string(out) == string(in) {
			count++
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	last := raw{}
	fmt.Println("chat", count, stream.RecvMsg(&last))
	// Longer than the server keeps a connection, several times over: no call may be lost.
	failures, calls := 0, 0
	until := time.Now().Add(2 * time.Second)
	results := make(chan error, 16)
	for time.Now().Before(until) {
		for i := 0; i < 16; i++ {
			go func() { _, _, err := unary(ctx, "Get", "again"); results <- err }()
		}
		for i := 0; i < 16; i++ {
			calls++
			if err := <-results; err != nil {
				failures++
				fmt.Println("lost", err)
			}
		}
	}
	fmt.Println("load", calls > 50, failures)
	return nil
}
