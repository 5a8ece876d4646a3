package local

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"iocpipe/extract"
	"iocpipe/intel"
)

// asProcess is the variable by which this test's program is told to be another process that writes a store: how, and
// to which.
const asProcess = "IOCPIPE_TEST_WRITER"

func TestMain(m *testing.M) {
	if task := os.Getenv(asProcess); task != "" {
		how, path, _ := strings.Cut(task, " ")
		if err := writeAs(how, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if benchFolder != "" {
		os.RemoveAll(benchFolder)
	}
	os.Exit(code)
}

// writeAs does what a writing process of the tests does.
func writeAs(how, path string) error {
	if who, ok := strings.CutPrefix(how, "edits="); ok {
		return addValues(path, who)
	}
	for i := 0; ; i++ { // until it is killed
		if _, err := Replace(path, generation(i)); err != nil {
			return err
		}
		err := Change(path, func(e *Edits) error { return e.Add(entryOf(fmt.Sprintf("edit%d.test", i%10))) })
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func entryOf(value string) intel.Entry {
	key, _ := extract.ParseKey(value)
	return intel.Entry{Subject: intel.Subject{Key: key}, Statement: &intel.Statement{Report: *listed}}
}

// edited is how many values each writer adds.
const edited = 20

func addValues(path, who string) error {
	for i := range edited {
		err := Change(path, func(e *Edits) error { return e.Add(entryOf(fmt.Sprintf("%s-%d.test", who, i))) })
		if err != nil {
			return err
		}
	}
	return nil
}

// generation is an import whose values all say which one it is, by their number.
func generation(i int) *Import {
	return &Import{Source{Name: "a"}, func(take func(intel.Entry) error) error {
		for j := range 3000 {
			e := entryOf(fmt.Sprintf("host%d.test", j))
			e.Report.Tags = []string{fmt.Sprint(i)}
			if err := take(e); err != nil {
				return err
			}
		}
		return nil
	}}
}

// checkGeneration fails unless all values of the store are of one generation.
func checkGeneration(t *testing.T, s *Store) {
	t.Helper()
	first := ""
	for j := 0; j < 3000; j += 7 {
		f := s.Find(extract.Key{Type: extract.Domain, Value: fmt.Sprintf("host%d.test", j)})
		if f.Verdict != intel.Malicious {
			t.Errorf("host%d.test: %v, %v", j, f.Verdict, s.Err())
			return
		}
		if first == "" {
			first = f.Report.Tags[0]
		}
		if f.Report.Tags[0] != first {
			t.Errorf("host%d.test is of generation %s, others of %s", j, f.Report.Tags[0], first)
			return
		}
	}
}

func writer(t *testing.T, how, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProcess+"="+how+" "+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestReadersSeeOneStore reads while others replace and edit: each reader sees the old file or the new one.
func TestReadersSeeOneStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intel.store")
	if _, err := Replace(path, generation(0)); err != nil {
		t.Fatal(err)
	}
	var readers, writers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s, err := Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				checkGeneration(t, s)
			}
		})
	}
	writers.Go(func() {
		for i := range 10 {
			if _, err := Replace(path, generation(i)); err != nil {
				t.Error(err)
			}
		}
	})
	writers.Go(func() {
		if err := addValues(path, "other"); err != nil {
			t.Error(err)
		}
	})
	writers.Wait()
	close(done)
	readers.Wait()
	if got := open(t, path).Len(); got != 3000+edited {
		t.Errorf("%d entries, want %d", got, 3000+edited)
	}
}

// TestOneStoreForAll asks one store from many goroutines, which check its pages and keep its statements at the same time.
func TestOneStoreForAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intel.store")
	if _, err := Replace(path, generation(1)); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() { checkGeneration(t, s) })
	}
	readers.Wait()
}

// TestWritersTakeTurns edits from several processes and goroutines: no edit is lost.
func TestWritersTakeTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intel.store")
	var writers sync.WaitGroup
	for i := range 3 {
		process := writer(t, fmt.Sprint("edits=process", i), path)
		writers.Go(func() {
			if err := process.Run(); err != nil {
				t.Error(err)
			}
		})
		writers.Go(func() {
			if err := addValues(path, fmt.Sprint("goroutine", i)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got := open(t, path).Len(); got != 6*edited {
		t.Errorf("%d entries, want %d", got, 6*edited)
	}
}

// TestKilledWriters kills a process that replaces and edits all the time, again and again: what is left is the old store
// or the new one, and nobody has to tidy up.
func TestKilledWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "intel.store")
	if _, err := Replace(path, generation(0)); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		killed(t, path)
		checkGeneration(t, open(t, path))
	}
	if err := addValues(path, "after"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 2 {
		t.Errorf("left are %v, want the store and its lock; %v", files, err)
	}
}

// round is about how long a round of a writer takes.
const round = 30 * time.Millisecond

// TestLeftFilesAreSwept holds that a writer removes what killed ones have left, of which there is seldom anything.
func TestLeftFilesAreSwept(t *testing.T) {
	path := storeFile(t, "a", mixed)
	for _, name := range []string{".intel.store.new", scratchName + "123"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("iocst"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, path, "add", "new.test")
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 2 {
		t.Errorf("left are %v, want the store and its lock; %v", files, err)
	}
	wantTold(t, open(t, path), mixedTold)
}

// killed runs a writer and kills it somewhere in its work.
func killed(t *testing.T, path string) {
	process := writer(t, "all", path)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		t.Error(err)
	}
	for range rand.IntN(2) {
		_, _ = r.ReadString('\n')
	}
	time.Sleep(rand.N(round)) // real time: the other process has no other
	_ = process.Process.Kill()
	_, _ = io.Copy(io.Discard, r)
	_ = process.Wait()
}
