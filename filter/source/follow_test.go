package source

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A reading follows files as a Reader would: it reads each piece to its end and acknowledges some.
type reading struct {
	t      *testing.T
	follow *Follow
	told   []string
	got    map[string]string // lines by ID and offset
	order  []string
}

// read begins to follow; what was read before stays.
func (r *reading) begin(registry *Registry, old bool, patterns ...string) {
	r.t.Helper()
	follow, err := NewFollow(patterns, FollowOptions{Registry: registry, Old: old,
		Told: func(format string, args ...any) { r.told = append(r.told, fmt.Sprintf(format, args...)) }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.follow = follow
	if r.got == nil {
		r.got = make(map[string]string)
	}
}

// piece reads the next piece; it returns false at the end. ack is told where it ends.
func (r *reading) piece(ack func(id string, offset, line int64)) bool {
	r.t.Helper()
	if _, err := r.follow.Next(); err == io.EOF {
		return false
	} else if err != nil {
		r.t.Fatal(err)
	}
	id, offset, line := r.follow.At()
	data, err := io.ReadAll(r.follow)
	if err != nil {
		r.t.Fatal(err)
	}
	for text := range bytes.Lines(data) {
		key := fmt.Sprintf("%s:%d", id, offset)
		if before, ok := r.got[key]; ok && before != string(text) {
			r.t.Fatalf("%s is %q and %q", key, before, text)
		} else if !ok {
			r.order = append(r.order, strings.TrimSuffix(string(text), "\n"))
		}
		r.got[key] = string(text)
		offset += int64(len(text))
		line++
	}
	if ack != nil {
		ack(id, offset, line)
	}
	return true
}

// all reads what is there, acknowledges it, and ends.
func (r *reading) all(registry *Registry) {
	r.t.Helper()
	r.follow.Stop()
	for r.piece(func(id string, offset, line int64) { _ = registry.Reached(id, offset, line) }) {
	}
}

func appendTo(t *testing.T, path string, lines ...string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(lines, "")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func compress(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	if err := os.WriteFile(to, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
}

func copyTruncate(t *testing.T, path, to string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err == nil {
		err = os.Truncate(path, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func openRegistry(t *testing.T, path string) *Registry {
	t.Helper()
	return openJournaled(t, path, "")
}

// long makes a line long enough for a file's head to be certain.
func long(s string) string { return s + strings.Repeat(".", certainHead) + "\n" }

// TestFollowAcrossRuns lets files change while nobody follows them, and a little while somebody does.
func TestFollowAcrossRuns(t *testing.T) {
	one, two, three := long("one"), long("two"), long("three")
	for name, tt := range map[string]struct {
		between func(t *testing.T, log string)
		want    string
	}{
		"grows": {func(t *testing.T, log string) { appendTo(t, log, two) }, "one two"},
		"stays": {func(t *testing.T, log string) {}, "one"},
		"renamed": {func(t *testing.T, log string) {
			appendTo(t, log, two)
			rename(t, log, log+".1")
			appendTo(t, log, three)
		}, "one two three"},
		"renamed, read": {func(t *testing.T, log string) { rename(t, log, log+".1"); appendTo(t, log, three) }, "one three"},
		"compressed": {func(t *testing.T, log string) {
			appendTo(t, log, two)
			compress(t, log, log+".1.gz")
			appendTo(t, log, three)
		}, "one two three"},
		"copied and truncated": {func(t *testing.T, log string) {
			appendTo(t, log, two)
			copyTruncate(t, log, log+".1")
			appendTo(t, log, three)
		}, "one two three"},
		"truncated":             {func(t *testing.T, log string) { _ = os.Truncate(log, 0); appendTo(t, log, three) }, "one three"},
		"replaced":              {func(t *testing.T, log string) { _ = os.Remove(log); appendTo(t, log, three) }, "one three"},
		"replaced by as much":   {func(t *testing.T, log string) { _ = os.WriteFile(log, []byte(two+two), 0o600) }, "one two two"},
		"removed":               {func(t *testing.T, log string) { _ = os.Remove(log) }, "one"},
		"unfinished, then done": {func(t *testing.T, log string) { appendTo(t, log, two[:4]); appendTo(t, log, two[4:]) }, "one two"},
		"unfinished":            {func(t *testing.T, log string) { appendTo(t, log, two[:4]) }, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			log, state := filepath.Join(dir, "app.log"), filepath.Join(dir, "follow.json")
			appendTo(t, log, one)
			r := &reading{t: t}
			for run := range 3 {
				registry := openRegistry(t, state)
				r.begin(registry, false, log)
				r.all(registry)
				if err := registry.Close(); err != nil {
					t.Fatal(err)
				}
				if run == 0 {
					tt.between(t, log)
				}
			}
			if got := words(r.order); got != tt.want {
				t.Errorf("got %s, want %s; told %q", got, tt.want, r.told)
			}
		})
	}
}

func words(lines []string) string {
	var short []string
	for _, line := range lines {
		short = append(short, strings.TrimRight(line, "."))
	}
	return strings.Join(short, " ")
}

// TestFollowWhileItChanges does the same to a file that is being followed.
func TestFollowWhileItChanges(t *testing.T) {
	one, two, three := long("one"), long("two"), long("three")
	for name, change := range map[string]func(t *testing.T, log string){
		"grows": func(t *testing.T, log string) { appendTo(t, log, two, three) },
		"renamed": func(t *testing.T, log string) {
			rename(t, log, log+".1")
			appendTo(t, log, three)
			appendTo(t, log+".1", two)
		},
		"to match": func(t *testing.T, log string) {
			rename(t, log, log+".old.log")
			appendTo(t, log, three)
			appendTo(t, log+".old.log", two)
		},
		"copied": func(t *testing.T, log string) {
			appendTo(t, log, two)
			copyTruncate(t, log, log+".1")
			appendTo(t, log, three)
		},
		"in parts": func(t *testing.T, log string) {
			appendTo(t, log, two[:7])
			appendTo(t, log, two[7:]+three[:3])
			appendTo(t, log, three[3:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "app.log")
			appendTo(t, log, one)
			registry := openRegistry(t, "")
			r := &reading{t: t}
			r.begin(registry, false, log, log+".*.log")
			ack := func(id string, offset, line int64) { _ = registry.Reached(id, offset, line) }
			r.piece(ack)
			change(t, log)
			for len(r.order) < 3 {
				r.piece(ack)
			}
			r.all(registry)
			if got := words(r.order); got != "one two three" {
				t.Errorf("got %s; told %q", got, r.told)
			}
		})
	}
}

func TestFollowFindsFilesLater(t *testing.T) {
	dir := t.TempDir()
	registry := openRegistry(t, "")
	r := &reading{t: t}
	r.begin(registry, false, filepath.Join(dir, "*.log"))
	go func() {
		time.Sleep(10 * time.Millisecond)
		appendTo(t, filepath.Join(dir, "a.log"), "first\n")
	}()
	r.piece(nil)
	appendTo(t, filepath.Join(dir, "b.log"), "second\n")
	r.piece(nil)
	if got := strings.Join(r.order, " "); got != "first second" {
		t.Errorf("got %s", got)
	}
}

// TestFollowOld reads what rotations have left, the oldest first, once.
func TestFollowOld(t *testing.T) {
	dir := t.TempDir()
	log, state := filepath.Join(dir, "app.log"), filepath.Join(dir, "follow.json")
	appendTo(t, log+".2", long("one"))
	compress(t, log+".2", log+".2.gz")
	appendTo(t, log+".1", long("two"))
	appendTo(t, log, long("three"))
	appendTo(t, filepath.Join(dir, "app.logs"), long("other"))
	now := time.Now()
	for i, name := range []string{".2.gz", ".1", ""} {
		if err := os.Chtimes(log+name, now, now.Add(time.Duration(i-9)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for run := range 2 {
		registry := openRegistry(t, state)
		r := &reading{t: t}
		r.begin(registry, true, log)
		r.all(registry)
		if got, want := words(r.order), []string{"one two three", ""}[run]; got != want {
			t.Errorf("run %d: got %s; told %q", run, got, r.told)
		}
		if err := registry.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowLongLines(t *testing.T) {
	log := filepath.Join(t.TempDir(), "app.log")
	lines := []string{"short\n", strings.Repeat("x", 3*pieceBytes) + "\n", "short\n", strings.Repeat("y", pieceBytes-1) + "\n",
		strings.Repeat("z", pieceBytes) + "\n"}
	appendTo(t, log, lines...)
	registry := openRegistry(t, "")
	r := &reading{t: t}
	r.begin(registry, false, log)
	r.all(registry)
	if !slices.Equal(r.order, strings.Split(strings.TrimSuffix(strings.Join(lines, ""), "\n"), "\n")) {
		t.Errorf("got %d lines", len(r.order))
	}
}

func TestRegistryIsForOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "follow.json")
	first := openRegistry(t, path)
	if _, err := OpenRegistry(path, ""); !errors.Is(err, ErrFollowed) {
		t.Errorf("got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRegistry(path, ""); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// TestFollowKilled kills the following at random moments, in which files grow and are rotated in all ways: every line
// comes, and what comes again has the ID and the offset it had.
func TestFollowKilled(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 7))
		dir := t.TempDir()
		log, state := filepath.Join(dir, "app.log"), filepath.Join(dir, "state")
		r := &reading{t: t}
		written, rotations := 0, 0
		write := func() {
			for range random.IntN(20) {
				appendTo(t, log, long(fmt.Sprintf("line %d ", written)))
				written++
			}
		}
		write()
		for range 15 {
			registry := openRegistry(t, state)
			r.begin(registry, false, log)
			r.follow.scan()
			for range random.IntN(4) {
				write()
				r.follow.scan()
				if _, err := os.Stat(log); err == nil && random.IntN(3) == 0 { // once between two looks
					rotated := fmt.Sprintf("%s.%d", log, rotations)
					rotations++
					if random.IntN(2) == 0 {
						rename(t, log, rotated)
					} else {
						copyTruncate(t, log, rotated)
					}
					write()
				}
				r.follow.scan()
				if ready, _ := r.follow.ready(); ready != nil {
					ready.scanned = ready.at // it was only looked at
					r.piece(func(id string, offset, line int64) {
						if random.IntN(2) == 0 {
							_ = registry.Reached(id, offset, line)
						}
					})
				}
			}
			r.follow.close()
			_ = registry.lock.Close() // killed: nothing is saved
		}
		registry := openRegistry(t, state)
		r.begin(registry, false, log)
		r.all(registry)
		_ = registry.Close()
		seen := make(map[string]int)
		for _, line := range r.order {
			seen[line]++
		}
		for n := range written {
			line := strings.TrimSuffix(long(fmt.Sprintf("line %d ", n)), "\n")
			if seen[line] != 1 {
				t.Fatalf("seed %d: line %d came %d times under different positions; told %q", seed, n, seen[line], r.told)
			}
		}
	}
}

// TestFollowMissed rotates more than once while nobody looks: between two runs, and while the reader is held up by its
// output. The files between are read, too, in their order; what only looks like one is not.
func TestFollowMissed(t *testing.T) {
	for _, stopped := range []bool{true, false} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "log")
			registry := openRegistry(t, filepath.Join(dir, "registry"))
			r := reading{t: t}
			appendTo(t, path, long("1"))
			r.begin(registry, false, path)
			r.piece(func(id string, offset, line int64) { _ = registry.Reached(id, offset, line) })
			if stopped {
				r.all(registry)
			}
			start := time.Now().Add(-time.Hour)
			for i := range 3 {
				appendTo(t, path, long(fmt.Sprint(i+2)))
				rename(t, path, fmt.Sprintf("%s.%d", path, 3-i))
				if err := os.Chtimes(fmt.Sprintf("%s.%d", path, 3-i), start, start.Add(time.Duration(i)*time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			appendTo(t, path+".bak", long("no"))
			appendTo(t, path, long("5"))
			if stopped {
				r.begin(registry, false, path)
			}
			r.all(registry)
			if got := strings.ReplaceAll(strings.Join(r.order, " "), ".", ""); got != "1 2 3 4 5" {
				t.Errorf("read: %s; told: %q", got, r.told)
			}
		})
	}
}

// TestFollowNotItsOutput follows a pattern that the output matches, too.
func TestFollowNotItsOutput(t *testing.T) {
	dir := t.TempDir()
	log, out := filepath.Join(dir, "app.log"), filepath.Join(dir, "out.log")
	appendTo(t, log, "one\n")
	appendTo(t, out, "written\n")
	registry := openRegistry(t, "")
	r := &reading{t: t}
	r.begin(registry, false, filepath.Join(dir, "*.log"))
	r.follow.opt.Written = func() os.FileInfo {
		info, _ := os.Stat(out)
		return info
	}
	r.all(registry)
	if got := words(r.order); got != "one" {
		t.Errorf("got %s; told %q", got, r.told)
	}
}
