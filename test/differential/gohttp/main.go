// Reads HTTP/1.1 messages with net/http, in both roles, and says what it read. On standard input: a
// byte 'q' (request) or 'p' (response, to a GET), a length
// of four bytes (big-endian), the message. On standard output: a line of JSON for each, in order.
// The server and the client are the real ones; their
// connections are in memory: the peer sends the message and ends its side.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"
)

type seen struct {
	Start    string              `json:"start"`
	Host     string              `json:"host"`
	Fields   map[string][]string `json:"fields"`
	Body     string              `json:"body"`
	Trailers map[string][]string `json:"trailers"`
}

type reading struct {
	Seen    []seen `json:"seen"`
	Refused string `json:"refused,omitempty"`
}

// conn gives its bytes and then the end; what is written is kept. Reading waits for the first
// write where it is a client's.
type conn struct {
	in      *bytes.Reader
	out     bytes.Buffer
	mu      sync.Mutex
	asked   chan struct{}
	askOnce sync.Once
	closed  chan struct{}
	once    sync.Once
}

func newConn(message []byte, asked bool) *conn {
	c := &conn{in: bytes.NewReader(message), asked: make(chan struct{}), closed: make(chan struct{})}
	if asked {
		close(c.asked)
	}
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	select {
	case <-c.asked:
		return c.in.Read(p)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.askOnce.Do(func() {
		select {
		case <-c.asked:
		default:
			close(c.asked)
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *conn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *conn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (c *conn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// one is a listener of a single connection.
type one struct {
	conns chan net.Conn
}

func (l *one) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *one) Close() error   { return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func fields(h http.Header) map[string][]string {
	all := map[string][]string{}
	for name, values := range h {
		for _, value := range values {
			all[name] = append(all[name], latin1([]byte(value)))
		}
	}
	return all
}

func readRequest(message []byte) reading {
	var got reading
	c := newConn(message, true)
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				got.Refused = "body: " + err.Error()
				panic(http.ErrAbortHandler)
			}
			got.Seen = append(got.Seen, seen{
				Start: latin1([]byte(r.Method + " " + r.RequestURI + " " + string(rune('0'+r.ProtoMinor)))),
				Host:  latin1([]byte(r.Host)), Fields: fields(r.Header), Body: latin1(body), Trailers: fields(r.Trailer),
			})
		}),
	}
	listener := &one{conns: make(chan net.Conn, 1)}
	listener.conns <- c
	go server.Serve(listener)
	<-c.closed
	close(listener.conns)
	answers := c.out.Bytes()
	for i := 0; i < len(got.Seen) && got.Refused == ""; i++ {
		if at := bytes.Index(answers, []byte("\r\n\r\n")); at >= 0 {
			if bytes.HasPrefix(answers, []byte("HTTP/1.1 100")) {
				i--
			}
			answers = answers[at+4:]
		}
	}
	if got.Refused == "" && len(answers) > 0 {
		line, _, _ := bytes.Cut(answers, []byte("\r\n"))
		got.Refused = latin1(line)
	}
	return got
}

func readResponse(message []byte) (got reading) {
	c := newConn(message, false)
	dialled := false
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if dialled {
				return nil, errors.New("a second connection")
			}
			dialled = true
			return c, nil
		},
	}
	defer transport.CloseIdleConnections()
	defer c.Close()
	request, _ := http.NewRequest("GET", "http://a/", nil)
	response, err := transport.RoundTrip(request)
	if err != nil {
		got.Refused = err.Error()
		return got
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		got.Refused = "body: " + err.Error()
		return got
	}
	got.Seen = []seen{{
		Start:  latin1([]byte(response.Status + " " + string(rune('0'+response.ProtoMinor)))),
		Fields: fields(response.Header), Body: latin1(body), Trailers: fields(response.Trailer),
	}}
	return got
}

type task struct {
	kind    byte
	message []byte
	done    chan []byte
}

func main() {
	log.SetOutput(io.Discard)
	workers := runtime.GOMAXPROCS(0) * 2
	work := make(chan *task, workers)
	order := make(chan *task, 4*workers)
	for range workers {
		go func() {
			for t := range work {
				read := readRequest
				if t.kind == 'p' {
					read = readResponse
				}
				line, err := json.Marshal(read(t.message))
				if err != nil {
					panic(err)
				}
				t.done <- line
			}
		}()
	}
	go func() {
		defer close(order)
		in := bufio.NewReaderSize(os.Stdin, 1<<20)
		for {
			var head [5]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			message := make([]byte, binary.BigEndian.Uint32(head[1:]))
			if _, err := io.ReadFull(in, message); err != nil {
				return
			}
			t := &task{head[0], message, make(chan []byte, 1)}
			order <- t
			work <- t
		}
	}()
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		select {
		case t, ok := <-order:
			if !ok {
				out.Flush()
				return
			}
			out.Write(<-t.done)
			out.WriteByte('\n')
		default:
			out.Flush()
			t, ok := <-order
			if !ok {
				return
			}
			out.Write(<-t.done)
			out.WriteByte('\n')
		}
	}
}
