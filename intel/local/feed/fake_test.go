package feed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"iocpipe/extract"
	"iocpipe/intel"
)

// A world is a host with a registry and a store, and a clock that only tests move.
type world struct {
	t    *testing.T
	path string // of the registry
	opt  Options

	mu       sync.Mutex
	now      time.Time
	env      map[string]string
	store    map[string][]string // values by feed
	replaced int                 // calls of the store
	full     error               // what the store says
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, path: filepath.Join(t.TempDir(), FileName), now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
		env: make(map[string]string), store: make(map[string][]string),
	}
	w.opt = Options{
		Formats: Formats{Files: walk, Open: open, Read: readLines}, Store: w.replace, Holds: w.holds,
		Now: w.clock, Getenv: func(name string) string { return w.env[name] },
	}
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) holds(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.store[name]
	return ok
}

// replace is a store: all contents or none.
func (w *world) replace(_ context.Context, contents []Content) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replaced++
	if w.full != nil {
		return w.full
	}
	next := maps.Clone(w.store)
	for _, c := range contents {
		var values []string
		if err := c.Read(func(e intel.Entry) error { values = append(values, e.Key.Value); return nil }); err != nil {
			return err
		}
		if len(values) != c.Feed.Entries {
			w.t.Errorf("%s: %d entries said, %d read", c.Feed.Name, c.Feed.Entries, len(values))
		}
		next[c.Feed.Name] = values
	}
	w.store = next
	return nil
}

// held returns what the store holds of a feed, in order.
func (w *world) held(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.store[name], " ")
}

func (w *world) add(feeds ...Feed) {
	w.t.Helper()
	for _, f := range feeds {
		err := Change(w.t.Context(), w.path, func(r *Registry) error {
			_, err := r.Add(f)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// update updates and returns what became of the feeds, by name.
func (w *world) update(opt Options) map[string]Result {
	w.t.Helper()
	results, err := Update(w.t.Context(), w.path, opt)
	if err != nil {
		w.t.Fatal(err)
	}
	byName := make(map[string]Result)
	for _, r := range results {
		byName[r.Feed.Name] = r
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(w.path), ".feeds*")); len(left) > 0 {
		w.t.Errorf("left behind: %v", left)
	}
	return byName
}

func (w *world) registered(name string) Feed {
	w.t.Helper()
	r, err := Load(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	f := r.Get(name)
	if f == nil {
		w.t.Fatalf("%s is not in the registry", name)
	}
	return *f
}

// forced is opt for every feed, due or not.
func forced(opt Options) Options {
	opt.All = true
	return opt
}

func walk(root string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return nil
			}
			if !yield(path, err) {
				return fs.SkipAll
			}
			return nil
		})
	}
}

// open undoes gzip, as a stand-in for all compressions.
func open(path string) (io.ReadCloser, error) {
	data, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return io.NopCloser(bytes.NewReader(data)), err
	}
	return gzip.NewReader(bytes.NewReader(data))
}

// readLines reads a value per line, in {} a page's values in JSON. A line "bad" is refused, one
// "useless" is of no use, and one "broken" is no list.
func readLines(r io.Reader, _ *Feed, _ string, take func(intel.Entry) error, refuse func(Refusal)) (string, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<24)
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		switch {
		case line == "" || line[0] == '#' || line[0] == '{':
		case strings.HasPrefix(line, "bad"):
			refuse(Refusal{fmt.Sprintf("line %d", n), "no indicator", true})
		case strings.HasPrefix(line, "useless"):
			refuse(Refusal{fmt.Sprintf("line %d", n), "the name of a file", false})
		case line == "broken":
			return "", errors.New("line 1: not a list")
		default:
			if err := take(intel.Entry{Subject: intel.Subject{Key: extract.Key{Type: extract.Domain, Value: line}}}); err != nil {
				return "", err
			}
		}
	}
	return "lines", s.Err()
}

// list is a list of n values.
func list(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d.example\n", i)
	}
	return b.String()
}

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// answer answers body with the header's fields, given as name, value, name, value…
func answer(status int, body string, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for field := range slices.Chunk(header, 2) {
			w.Header().Set(field[0], field[1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

// ofURL is a feed of that name and URL, every hour.
func ofURL(name, url string) Feed {
	return Feed{Name: name, From: url, Every: DefaultEvery}
}
