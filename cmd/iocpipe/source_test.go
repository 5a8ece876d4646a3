package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"iocpipe/extract"
	"iocpipe/intel"
	"iocpipe/lookup/lookuptest"
	"iocpipe/lookup/otx"
)

// scriptPatience is how long a script waits for what has to come. Where the program is right it comes at once.
const scriptPatience = 10 * time.Second

type sourceKey struct{}

// A scriptSource is the network source of a script. How it behaves can be changed while it runs.
type scriptSource struct {
	t      testing.TB
	server *lookuptest.Server

	mu    sync.Mutex
	reply http.Handler
	otx   http.Handler // answers OTX's paths instead; may be nil
}

// sourceCommand is the script's command source:
//
//	source start FILE   answers from the report lines of FILE, anything else as unknown; $SOURCE is its URL
//	source otx FILE [KEY]      from now on speaks OTX on its paths, too: by the answers of FILE, a line each, anything
//	                           else as unknown, and nobody without KEY
//	source mend FILE    the same from now on, where it was broken before
//	source stall        holds every answer back from now on
//	source break HOW    from now on: html, empty, 503, toomany, cutoff, reset, hangup, endless, nothttp, elsewhere, 400 or 429
//	source asked N      waits until it was asked N times; more is a failure
//	source asked-about VALUE   fails unless one of the questions named VALUE; with ! if one did
func sourceCommand(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(sourceKey{}).(*scriptSource)
	if len(args) == 0 || neg && args[0] != "asked-about" {
		ts.Fatalf("usage: source start|otx|mend|stall|break|asked|asked-about …")
	}
	arg := strings.Join(args[1:], " ")
	switch args[0] {
	case "start":
		s.set(answers(ts, arg))
		s.server = lookuptest.NewServer(s.t, s)
		ts.Setenv("SOURCE", s.server.URL)
	case "otx":
		s.setOTX(otxAnswers(ts, args[1], strings.Join(args[2:], "")))
	case "mend":
		s.set(answers(ts, arg))
	case "stall":
		s.set(lookuptest.Stall(func() {}, nil, nil))
	case "break":
		s.set(broken(ts, arg))
	case "asked":
		s.awaitAsked(ts, arg)
	case "asked-about":
		if s.askedAbout(arg) == neg {
			ts.Fatalf("asked: %v", s.server.Asked())
		}
	default:
		ts.Fatalf("source %s: unknown", args[0])
	}
}

func (s *scriptSource) set(reply http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply, s.otx = reply, nil
}

func (s *scriptSource) setOTX(reply http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.otx = reply
}

func (s *scriptSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	reply := s.reply
	if s.otx != nil && strings.HasPrefix(r.URL.Path, otx.DefaultPath+"/") {
		reply = s.otx
	}
	s.mu.Unlock()
	reply.ServeHTTP(w, r)
}

func (s *scriptSource) awaitAsked(ts *testscript.TestScript, arg string) {
	want, err := strconv.Atoi(arg)
	ts.Check(err)
	for end := time.Now().Add(scriptPatience); len(s.server.Asked()) < want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if asked := s.server.Asked(); len(asked) != want {
		ts.Fatalf("asked %d times, want %d: %v", len(asked), want, asked)
	}
}

func (s *scriptSource) askedAbout(value string) bool {
	for _, r := range s.server.Asked() {
		if strings.Contains(r.Path+"?"+r.Query, value) {
			return true
		}
	}
	return false
}

// answers serves the report lines of a file.
func answers(ts *testscript.TestScript, file string) http.Handler {
	replies := make(map[string]http.Handler)
	for line := range strings.Lines(ts.ReadFile(file)) {
		key, _, err := intel.ParseReportLine([]byte(strings.TrimSpace(line)))
		ts.Check(err)
		value := key.Value
		if key.Type == extract.Antivirus {
			value = strings.ToLower(value)
		}
		replies[value] = lookuptest.JSON(line)
	}
	return lookuptest.ByValue(replies, lookuptest.JSON(`{"response_code":"0"}`))
}

// otxAnswers serves OTX's answers in the lines of a file to those who have the key.
func otxAnswers(ts *testscript.TestScript, file, key string) http.Handler {
	replies := make(map[string]http.Handler)
	for line := range strings.Lines(ts.ReadFile(file)) {
		var answer struct{ Indicator string }
		ts.Check(json.Unmarshal([]byte(line), &answer))
		replies[answer.Indicator] = lookuptest.JSON(line)
	}
	known := lookuptest.ByValue(replies, lookuptest.Body(http.StatusNotFound, "text/html", "not found"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-OTX-API-KEY") != key {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		known.ServeHTTP(w, r)
	})
}

func broken(ts *testscript.TestScript, how string) http.Handler {
	const answer = `{"response_code":"1","votes":-1,"permalink":"https:\/\/crowd.example\/"}`
	reply, ok := map[string]http.Handler{
		"html":      lookuptest.HTML(),
		"empty":     lookuptest.Empty(),
		"503":       lookuptest.Busy(http.StatusServiceUnavailable, "1"),
		"429":       lookuptest.Busy(http.StatusTooManyRequests, ""),
		"400":       lookuptest.Body(http.StatusBadRequest, "application/json", `{"detail":"malformed"}`),
		"toomany":   lookuptest.TooManyConnections(),
		"cutoff":    lookuptest.CutOff(answer),
		"reset":     lookuptest.Reset(answer),
		"hangup":    lookuptest.HangUp(),
		"endless":   lookuptest.Endless(),
		"nothttp":   lookuptest.NotHTTP(),
		"elsewhere": lookuptest.Redirect(http.StatusFound, "http://127.0.0.1:1%s"),
	}[how]
	if !ok {
		ts.Fatalf("source break %s: unknown", how)
	}
	return reply
}
