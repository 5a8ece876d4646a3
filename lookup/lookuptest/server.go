// Package lookuptest holds what every provider of lookup must pass ([Run]), and a [Server] that misbehaves by script in
// the ways that sources of intelligence, and what stands before them, were seen to.
package lookuptest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Server is an HTTP server on loopback that notes what it is asked. It is safe for concurrent use.
type Server struct {
	URL  string // http://127.0.0.1:port
	Host string // 127.0.0.1:port

	mu    sync.Mutex
	asked []Request
}

// A Request is one question that a [Server] got.
type Request struct {
	Time  time.Time
	Path  string
	Query string // raw
	Agent string // User-Agent
}

// NewServer starts a server that answers by reply, one of the functions of this package or any handler. It ends with
// the test, and with it every answer that is still under way.
func NewServer(t testing.TB, reply http.Handler) *Server {
	s := new(Server)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		reply.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.URL, s.Host = srv.URL, srv.Listener.Addr().String()
	return s
}

func (s *Server) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, Request{time.Now(), r.URL.Path, r.URL.RawQuery, r.UserAgent()})
}

// Asked returns the requests so far, in the order of their arrival.
func (s *Server) Asked() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.asked...)
}

// Sequence answers the first request by the first reply, the next by the next, and goes on with the last one.
func Sequence(replies ...http.Handler) http.Handler {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := min(int(n.Add(1)), len(replies)) - 1
		replies[i].ServeHTTP(w, r)
	})
}

// ByValue answers a request whose decoded path or query holds a key of replies by its reply, any other by otherwise.
func ByValue(replies map[string]http.Handler, otherwise http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for value, reply := range replies {
			if asksFor(r, value) {
				reply.ServeHTTP(w, r)
				return
			}
		}
		otherwise.ServeHTTP(w, r)
	})
}

// asksFor reports whether value is a parameter of r, or an element of its path.
func asksFor(r *http.Request, value string) bool {
	for _, values := range r.URL.Query() {
		if len(values) > 0 && values[0] == value {
			return true
		}
	}
	return strings.Contains(r.URL.Path+"/", "/"+value+"/")
}

// JSON answers body with status 200, as the API does.
func JSON(body string) http.Handler { return Body(http.StatusOK, "application/json", body) }

// Body answers body with the status and content type.
func Body(status int, contentType, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // a client that has gone is its own affair
	})
}

// page is what stands before a source says when the source is away.
const page = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n</html>\r\n"

// HTML answers a page with status 200.
func HTML() http.Handler { return Body(http.StatusOK, "text/html", page) }

// Empty answers no byte with status 200.
func Empty() http.Handler { return Body(http.StatusOK, "text/html", "") }

// TooManyConnections answers status 200 and the database's own words.
func TooManyConnections() http.Handler {
	return Body(http.StatusOK, "text/html", "Too many connections")
}

// Busy answers status 429 or 503 with a page, and with a Retry-After header unless retryAfter is "".
func Busy(status int, retryAfter string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		Body(status, "text/html", page).ServeHTTP(w, r)
	})
}

// Redirect answers status with location, in which %s stands for path and query of the request.
func Redirect(status int, location string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.ReplaceAll(location, "%s", r.URL.RequestURI()))
		w.WriteHeader(status)
	})
}

// CutOff announces body and ends the connection after half of it.
func CutOff(body string) http.Handler { return half(body, func(net.Conn) {}) }

// Reset announces body and resets the connection after half of it.
func Reset(body string) http.Handler {
	return half(body, func(conn net.Conn) {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // at worst the connection ends in order, which is [CutOff]
		}
	})
}

// HangUp ends the connection without an answer.
func HangUp() http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// half sends half of an answer, then calls end and closes the connection.
func half(body string, end func(net.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body[:len(body)/2])
		_ = buf.Flush()
		end(conn)
	})
}

// NotHTTP answers a line that is not HTTP and repeats the question.
func NotHTTP() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("what is " + r.URL.RequestURI() + "\r\n\r\n")
		_ = buf.Flush()
	})
}

// Endless begins an object and goes on until the client has enough.
func Endless() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		chunk := `{"response_code":"1","hashes":["` + strings.Repeat("0", 1<<16)
		for {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
			chunk = chunk[len(chunk)-1<<16:]
		}
	})
}

// Drip sends body byte by byte, pause apart, and then nothing more until the client goes: it has announced one byte
// more.
func Drip(body string, pause time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := range len(body) {
			_, _ = w.Write([]byte{body[i]})
			_ = http.NewResponseController(w).Flush() // fails only when r's context ends, too
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		<-r.Context().Done()
	})
}

// Stall calls arrived and then holds the answer back until release is closed or the client goes; then it is reply's.
func Stall(arrived func(), release <-chan struct{}, reply http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived()
		select {
		case <-release:
			reply.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}
