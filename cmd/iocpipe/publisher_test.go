package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"iocpipe/lookup/lookuptest"
)

type publisherKey struct{}

// A publisher is a web server with feeds. What it does wrong can be changed while it runs.
type publisher struct {
	t      testing.TB
	dir    string
	server *lookuptest.Server

	mu  sync.Mutex
	how map[string]http.Handler // by file
}

// publishCommand is the script's command publish:
//
//	publish start DIR        serves the files of DIR, with ETag; $FEEDS is its URL
//	publish break FILE HOW   from now on, instead of FILE: as source break, or 404
//	publish mend FILE        FILE again
//	publish asked N          fails unless it was asked N times so far
func publishCommand(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(publisherKey{}).(*publisher)
	if neg || len(args) < 2 {
		ts.Fatalf("usage: publish start|break|mend|asked …")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch args[0] {
	case "start":
		p.dir, p.how = ts.MkAbs(args[1]), make(map[string]http.Handler)
		p.server = lookuptest.NewServer(p.t, p)
		ts.Setenv("FEEDS", p.server.URL)
	case "break":
		if args[2] == "404" {
			p.how[args[1]] = http.NotFoundHandler()
			return
		}
		p.how[args[1]] = broken(ts, args[2])
	case "mend":
		delete(p.how, args[1])
	case "asked":
		if got := strconv.Itoa(len(p.server.Asked())); got != args[1] {
			ts.Fatalf("asked %s times, want %s: %v", got, args[1], p.server.Asked())
		}
	default:
		ts.Fatalf("publish %s: unknown", args[0])
	}
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	p.mu.Lock()
	how := p.how[name]
	p.mu.Unlock()
	if how != nil {
		how.ServeHTTP(w, r)
		return
	}
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
