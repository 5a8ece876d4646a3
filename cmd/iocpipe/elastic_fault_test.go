package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"iocpipe/sinks/elastic"
	"iocpipe/sinks/elastic/elastictest"
)

// A faultCase is a server that fails in one way, and what is to become of the lines.
type faultCase struct {
	name string
	next []elastictest.Fault
	do   func(*testing.T, *faultRun) // prepares the server and the program's flags
	dead int                         // one of so many lines is refused for good; 0 for none
	// twice says that lines that have no _id, those of stdin, may be there twice, because the server has taken them
	// and not said so.
	twice bool
	exit  int // exit code
}

// A faultRun is one run of the program against a server that fails.
type faultRun struct {
	server  *elastictest.Faulty
	dir     string
	letters string
	args    []string
	meddle  func(*program) // while it runs
}

func faultCases() []faultCase {
	status := elastictest.Status
	return []faultCase{
		{name: "none"},
		{name: "429 for every 5th item, 3 times", next: elastictest.Times(3, elastictest.Storm(5))},
		{name: "429 for all items, twice", next: elastictest.Times(2, elastictest.Storm(1))},
		{name: "503 for every 3rd item", next: elastictest.Times(2, elastictest.Unavailable(3))},
		{name: "429 for the request", next: elastictest.Times(2, status(429, ""))},
		{name: "503 without Retry-After", next: elastictest.Times(2, status(503, ""))},
		{name: "503 with Retry-After", next: elastictest.Times(2, status(503, "1"))},
		{name: "502 by a proxy, after it was done", next: elastictest.Times(2, elastictest.StatusAfter(502)), twice: true},
		{name: "connection closed", next: elastictest.Times(2, elastictest.Refused)},
		{name: "reset in the middle of the answer", next: elastictest.Times(2, elastictest.Reset), twice: true},
		{name: "stall", next: []elastictest.Fault{elastictest.Stall}, twice: true, do: flags("--es-timeout", "1s")},
		{name: "slow", next: elastictest.Times(3, elastictest.Slow(300*time.Millisecond))},
		{name: "an item too few", next: elastictest.Times(2, elastictest.Items(-1)), twice: true},
		{name: "no items", next: []elastictest.Fault{elastictest.Items(-1 << 20)}, twice: true},
		{name: "two items too many", next: elastictest.Times(2, elastictest.Items(2)), twice: true},
		{name: "JSON cut off", next: elastictest.Times(2, elastictest.CutOff), twice: true},
		{name: "HTML under 200", next: elastictest.Times(2, elastictest.HTML)},
		{name: "JSON that is no answer", next: elastictest.Times(2, elastictest.Garbage), twice: true},
		{name: "413 over 20 kB", do: func(_ *testing.T, r *faultRun) { r.server.Limit(20_000) }},
		{name: "400 for every 7th item", next: elastictest.Times(1000, elastictest.Reject(7)), dead: 7},
		{name: "failure store for every 7th item", next: elastictest.Times(1000, elastictest.FailureStore(7)), dead: 7},
		{name: "disk full, once", next: []elastictest.Fault{elastictest.Flooded}},
		{name: "401 from the start, for ever", do: func(t *testing.T, r *faultRun) { keyed(t, r, "right", "wrong") }, dead: 1, exit: 1},
		{name: "401 in mid-stream, the key file changes", do: rotateKey},
		{name: "certificate changes, the CA file changes", do: rotateCertificate},
		{name: "down at the start", do: downAtStart},
		{name: "all of them", twice: true, do: flags("--es-timeout", "1s"), next: []elastictest.Fault{
			elastictest.Storm(2), elastictest.Reset, elastictest.Items(1), status(503, ""), elastictest.CutOff, elastictest.Unavailable(4),
			elastictest.HTML, elastictest.Stall, elastictest.Items(-1), elastictest.Storm(1), elastictest.Refused}},
	}
}

func flags(args ...string) func(*testing.T, *faultRun) {
	return func(_ *testing.T, r *faultRun) { r.args = append(r.args, args...) }
}

// keyed makes the server want a key, and the program have one.
func keyed(t *testing.T, r *faultRun, wanted, given string) (file string) {
	r.server.Gate(func(req *http.Request) (int, string) {
		if req.Header.Get("Authorization") == "ApiKey "+wanted {
			return 0, ""
		}
		return http.StatusUnauthorized, "unable to authenticate"
	})
	file = filepath.Join(r.dir, "key")
	replaceFile(t, file, given)
	r.args = append(r.args, "--es-api-key-file", file)
	return file
}

// replaceFile writes a file whole, as far as others can see.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	writeFile(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// rotateKey changes the key that is wanted and the file of it, the file first, as who rotates keys does.
func rotateKey(t *testing.T, r *faultRun) {
	file := keyed(t, r, "a2V5OjE=", "a2V5OjE=")
	r.server.Next(elastictest.Times(4, elastictest.Slow(200*time.Millisecond))...)
	r.meddle = func(p *program) {
		p.until("a first request", func() bool { return r.server.Requests() > 1 })
		replaceFile(t, file, "a2V5OjI=")
		keyed(t, &faultRun{server: r.server, dir: t.TempDir()}, "a2V5OjI=", "")
	}
}

// rotateCertificate changes the server's certificate and the file of who signed it.
func rotateCertificate(t *testing.T, r *faultRun) {
	r.server = elastictest.NewFaultyTLS(t, elastictest.AsElasticsearch)
	ca := filepath.Join(r.dir, "ca.pem")
	replaceFile(t, ca, string(r.server.CA))
	r.args = append(r.args, "--es-ca", ca)
	r.server.Next(elastictest.Times(4, elastictest.Slow(200*time.Millisecond))...)
	r.meddle = func(p *program) {
		p.until("a first request", func() bool { return r.server.Requests() > 1 })
		r.server.Renew(t)
		time.Sleep(100 * time.Millisecond) // the file comes later
		replaceFile(t, ca, string(r.server.CA))
	}
}

// downAtStart refuses all until it has been asked twice.
func downAtStart(_ *testing.T, r *faultRun) {
	var asked atomic.Int64
	r.server.Gate(func(*http.Request) (int, string) {
		if asked.Add(1) <= 2 {
			return http.StatusServiceUnavailable, "starting"
		}
		return 0, ""
	})
}

// TestElasticFaults runs the program against a server that fails, by each fault, from a file, whose lines have IDs, and
// from stdin. No line is lost, ever; what is there twice says the case. With -v it prints the table of
// docs/elasticsearch-faults.md.
func TestElasticFaults(t *testing.T) {
	const n = 3000
	for _, c := range faultCases() {
		for _, from := range []string{"file", "stdin"} {
			t.Run(c.name+"/"+from, func(t *testing.T) {
				t.Parallel()
				flavor := elastictest.AsElasticsearch
				if from == "stdin" {
					flavor = elastictest.AsOpenSearch
				}
				r := &faultRun{dir: t.TempDir(), server: elastictest.NewFaulty(t, flavor)}
				if c.do != nil {
					c.do(t, r)
				}
				r.server.Next(c.next...)
				indexed, dead, twice := r.run(t, lines(0, n), from == "stdin", c.exit)
				t.Logf("| %s | %s | %d | %d | %d | %d |", c.name, from, len(indexed), dead, n-len(indexed)-dead, twice)
				if len(indexed)+dead != n {
					t.Errorf("%d lines: %d are indexed and %d among the dead letters", n, len(indexed), dead)
				}
				if twice > 0 && !(c.twice && from == "stdin") {
					t.Errorf("%d are there twice", twice)
				}
				if (dead > 0) != (c.dead > 0) || c.dead == 1 && dead != n {
					t.Errorf("%d dead letters", dead)
				}
				if c.next != nil && len(c.next) < 1000 && r.server.Left() == len(c.next) {
					t.Error("no fault has happened")
				}
			})
		}
	}
}

// run feeds lines to the program and returns the messages that the server holds in the end, how many others are among
// the dead letters, and how many are there more than once.
func (r *faultRun) run(t *testing.T, text string, stdin bool, exit int) (indexed map[string]int, dead, twice int) {
	t.Helper()
	r.letters = filepath.Join(r.dir, "letters.ndjson")
	args := append([]string{"--intel", "../../testdata/intel/blocklist.txt", "--state", "none", "--to", "elasticsearch", "--es-url", r.server.URL,
		"--es-index", "events", "--dead-letter", r.letters}, r.args...)
	file := filepath.Join(r.dir, "in.log")
	replaceFile(t, file, text)
	if !stdin {
		args = append(args, file)
	}
	p := start(t, args...)
	said := make(chan struct{})
	go func() {
		defer close(said)
		if stdin {
			_, _ = p.in.Write([]byte(text)) // it may end before it has read everything
		}
	}()
	if r.meddle != nil {
		r.meddle(p)
	}
	<-said
	_ = p.in.Close()
	select { // a full disk is looked at every 30 seconds
	case <-p.ended:
	case <-time.After(2 * time.Minute):
	}
	p.end(exit)
	indexed = make(map[string]int)
	for _, source := range r.server.Documents() {
		message := messageOf(t, []byte(source))
		if indexed[message]++; indexed[message] > 1 {
			twice++
		}
	}
	for _, document := range readLetters(t, r.letters) {
		if message := messageOf(t, document); indexed[message] == 0 {
			dead++
		} else {
			twice++ // it would be sent again
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if indexed[line] == 0 && dead == 0 {
			t.Fatalf("lost: %q; stderr: %s", line, &p.err)
		}
	}
	return indexed, dead, twice
}

func messageOf(t *testing.T, document []byte) string {
	t.Helper()
	var d struct{ Message string }
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatalf("%q: %v", document, err)
	}
	return d.Message
}

// readLetters returns the documents of a dead-letter file, if there is one.
func readLetters(t *testing.T, path string) (documents [][]byte) {
	t.Helper()
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = elastic.ReadLetters(bufio.NewReader(file), func(pair []byte) error {
		_, document, _ := bytes.Cut(pair, []byte("\n"))
		documents = append(documents, bytes.Clone(bytes.TrimSuffix(document, []byte("\n"))))
		return nil
	}, func(number int, line []byte, err error) error {
		return fmt.Errorf("letter %d: %w: %q", number, err, line)
	})
	if err != nil {
		t.Fatal(err)
	}
	return documents
}
