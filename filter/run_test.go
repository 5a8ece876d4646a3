package filter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// workerFunc is a Worker without a state.
type workerFunc func(dst []byte, b *Block) []byte

func (f workerFunc) Process(dst []byte, b *Block) []byte { return f(dst, b) }

// each makes the function the worker on every goroutine.
func each(f workerFunc) func() Worker { return func() Worker { return f } }

func pass() Worker { return passing{} }

// numbered puts the input's name and the line's number before each line.
func numbered(dst []byte, b *Block) []byte {
	number := b.Line
	for content := range bytes.Lines(b.Data) {
		dst = append(fmt.Appendf(dst, "%s:%d:", b.Name, number), content...)
		number++
	}
	return dst
}

// run runs src through the workers and wants no error.
func run(t *testing.T, src Source, newWorker func() Worker, opts Options) (string, Stats) {
	t.Helper()
	if opts.Failed == nil {
		opts.Failed = failing(t)
	}
	var out bytes.Buffer
	stats, err := Run(t.Context(), src, &out, newWorker, opts)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), stats
}

// randomLines returns lines of all lengths around maxLine, from and to every buffer's size.
func randomLines(random *rand.Rand, count, maxLine int) []byte {
	var in []byte
	for range count {
		length := random.IntN(2 * maxLine)
		if random.IntN(2) == 0 {
			length = random.IntN(80)
		}
		in = append(in, bytes.Repeat([]byte{byte('!' + random.IntN(90))}, length)...)
		in = append(in, []string{"\n", "\n", "\r\n"}[random.IntN(3)]...)
	}
	return in[:len(in)-random.IntN(2)]
}

// TestRunKeepsOrderAndBytes lets workers take random (fake) time for random input in random portions.
func TestRunKeepsOrderAndBytes(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			maxLine := []int{1, 70, 30_000, blockSize}[seed%4]
			in := randomLines(random, 40, maxLine)
			delays := func() Worker {
				mine := rand.New(rand.NewPCG(seed, 1))
				return workerFunc(func(dst []byte, b *Block) []byte {
					time.Sleep(time.Duration(mine.IntN(1000)) * time.Millisecond)
					if mine.IntN(2) == 0 {
						return b.Data
					}
					return append(dst, b.Data...)
				})
			}
			src := from(&portions{in, []int{1 + random.IntN(100), 1 + random.IntN(100_000)}})
			got, stats := run(t, src, delays, Options{Workers: 1 + random.IntN(5), MaxLine: maxLine})
			if got != string(in) {
				t.Fatalf("seed %d: got %d bytes, want the %d read", seed, len(got), len(in))
			}
			checkStats(t, stats, in, maxLine)
		})
	}
}

// checkStats wants the counts of input that passed unchanged.
func checkStats(t *testing.T, got Stats, in []byte, maxLine int) {
	t.Helper()
	size := int64(len(in))
	want := Stats{Bytes: size, BytesOut: size}
	for _, l := range obviousLines(in, maxLine) {
		want.Lines++
		want.LinesOut++
		if l.Long {
			want.Long++
		}
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func FuzzRun(f *testing.F) {
	f.Add([]byte("a\nb\r\n\n12345678\n123456789\nc"), 8, uint8(4), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, maxLine int, portion, workers uint8) {
		maxLine = max(1, maxLine)
		src := from(&portions{in, []int{int(portion) + 1}})
		got, stats := run(t, src, pass, Options{Workers: int(workers%8) + 1, MaxLine: maxLine})
		if got != string(in) {
			t.Errorf("got %q", got)
		}
		checkStats(t, stats, in, maxLine)
	})
}

func TestRunJoinsInputs(t *testing.T) {
	onlyTwos := func(dst []byte, b *Block) []byte {
		for content := range bytes.Lines(b.Data) {
			if bytes.Contains(content, []byte("2")) {
				dst = append(dst, content...)
			}
		}
		return dst
	}
	tests := []struct {
		name   string
		inputs []string
		worker workerFunc
		want   string
	}{
		{"whole lines", []string{"1\n", "2\n"}, numbered, "0:1:1\n1:1:2\n"},
		{"unfinished lines", []string{"1", "2\n3", "4"}, numbered, "0:1:1\n1:1:2\n1:2:3\n2:1:4"},
		{"empty inputs between", []string{"", "1", "", "", "2", ""}, numbered, "1:1:1\n4:1:2"},
		{"lines left out between", []string{"12", "1\n", "1", "2\n"}, onlyTwos, "12\n2\n"},
		{"unfinished line left out", []string{"2\n", "1", "2"}, onlyTwos, "2\n2"},
		{"long lines", []string{"1234567", "1234567\n", "1234567"}, numbered, "1234567\n1234567\n1234567"},
		{"output that is finished", []string{"1", "2"}, func(dst []byte, b *Block) []byte {
			return append(append(dst, b.Data...), '\n')
		}, "1\n2\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			src := new(inputs)
			for i, content := range tt.inputs {
				src.todo = append(src.todo, input{name: fmt.Sprint(i), r: strings.NewReader(content)})
			}
			got, _ := run(t, src, each(tt.worker), Options{MaxLine: 6})
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// quoting puts long lines in quotes, as they stream.
func quoting(dst []byte, b *Block) []byte {
	if b.First {
		dst = append(dst, '"')
	}
	content, ended := bytes.CutSuffix(b.Data, lineFeed)
	dst = append(dst, content...)
	if b.Last {
		dst = append(dst, '"')
	}
	if ended {
		dst = append(dst, '\n')
	}
	return dst
}

func TestRunLongLines(t *testing.T) {
	src := from(&portions{[]byte("1\n123456\n2\n1234567\n12345678"), []int{3}})
	got, stats := run(t, src, each(numbered), Options{MaxLine: 5, Long: workerFunc(quoting), Workers: 3})
	if want := "in:1:1\n\"123456\"\nin:3:2\n\"1234567\"\n\"12345678\""; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := (Stats{Lines: 5, LinesOut: 5, Bytes: 27, BytesOut: int64(len(got)), Long: 3}); stats != want {
		t.Errorf("got %+v, want %+v", stats, want)
	}
}

// TestRunAnswersALoneLine wants the first line out before the second is there.
func TestRunAnswersALoneLine(t *testing.T) {
	in, toIn := io.Pipe()
	fromOut, out := io.Pipe()
	ended := make(chan error)
	go func() {
		_, err := Run(t.Context(), from(in), out, each(numbered), Options{Failed: failing(t)})
		ended <- err
	}()
	for i := range 3 {
		fmt.Fprintf(toIn, "line\n")
		want := fmt.Sprintf("in:%d:line\n", i+1)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(fromOut, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	toIn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// counting counts what is read of lines without end.
type counting struct{ bytes atomic.Int64 }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// TestRunBoundsMemory lets nothing be written.
func TestRunBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 3
		in := new(counting)
		fromOut, out := io.Pipe()
		ended := make(chan error)
		go func() {
			opts := Options{Workers: workers, Failed: failing(t)}
			_, err := Run(t.Context(), from(in), out, pass, opts)
			ended <- err
		}()
		synctest.Wait()
		if got, want := in.bytes.Load(), int64((2*workers+3)*blockSize); got > want {
			t.Errorf("%d bytes were read, want %d at most", got, want)
		}
		fromOut.Close()
		if err := <-ended; err != io.ErrClosedPipe {
			t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
		}
	})
}

// writerFunc is a Writer.
type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestRunEndsWhenNobodyReads wants the end at once, although the input stays open and silent.
func TestRunEndsWhenNobodyReads(t *testing.T) {
	closed := writerFunc(func([]byte) (int, error) { return 0, fmt.Errorf("write stdout: %w", syscall.EPIPE) })
	short := writerFunc(func(p []byte) (int, error) { return len(p) - 1, nil })
	for _, tt := range []struct {
		w    io.Writer
		want error
	}{{closed, syscall.EPIPE}, {short, io.ErrShortWrite}} {
		synctest.Test(t, func(t *testing.T) {
			in := &blocking{data: "1\n", closed: make(chan struct{})}
			stats, err := Run(t.Context(), from(in), tt.w, pass, Options{Failed: failing(t)})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if stats.Lines != 1 || stats.LinesOut != 0 {
				t.Errorf("got %+v", stats)
			}
			close(in.closed)
		})
	}
}

func TestRunDrains(t *testing.T) {
	const drain = 5 * time.Second
	type portion struct {
		after time.Duration // the cancellation
		data  string
	}
	tests := []struct {
		name     string
		portions []portion
		end      time.Duration // of the input, after the cancellation
		want     string
		took     time.Duration
	}{
		{"until the input ends", []portion{{2 * time.Second, "2\n"}}, 3 * time.Second, "1\n2\n", 3 * time.Second},
		{"for five seconds", []portion{{time.Second, "2\n"}, {4 * time.Second, "3\n"}}, time.Hour, "1\n2\n3\n", drain},
		{"and no longer", []portion{{6 * time.Second, "2\n"}}, time.Hour, "1\n", drain},
		{"unfinished lines, too", []portion{{time.Second, "2"}}, time.Hour, "1\n2", drain},
		{"long lines, too", []portion{{time.Second, "long line"}, {2 * time.Second, " goes on"}}, time.Hour,
			"1\nlong line goes on", drain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				in, toIn := io.Pipe()
				begin := time.Now()
				for _, p := range tt.portions {
					time.AfterFunc(p.after+time.Hour, func() { io.WriteString(toIn, p.data) })
				}
				time.AfterFunc(time.Hour, cancel)
				time.AfterFunc(time.Hour+tt.end, func() { toIn.Close() })
				go io.WriteString(toIn, "1\n")

				var out bytes.Buffer
				opts := Options{Drain: drain, MaxLine: 6, Failed: failing(t)}
				stats, err := Run(ctx, from(in), &out, pass, opts)
				if err != nil || out.String() != tt.want {
					t.Errorf("got %q, %v, want %q", out.String(), err, tt.want)
				}
				if took := time.Since(begin) - time.Hour; took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if stats.Lines != stats.LinesOut {
					t.Errorf("%d lines in, %d out", stats.Lines, stats.LinesOut)
				}
				in.Close()
			})
		})
	}
}

// TestRunEndsAtOnce has five seconds to drain, and a cause not to.
func TestRunEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		in, toIn := io.Pipe()
		go io.WriteString(toIn, "1\n2")
		time.AfterFunc(time.Hour, func() { cancel(ErrAtOnce) })
		begin := time.Now()
		var out bytes.Buffer
		_, err := Run(ctx, from(in), &out, pass, Options{Drain: 5 * time.Second, Failed: failing(t)})
		if took := time.Since(begin); err != nil || out.String() != "1\n2" || took != time.Hour {
			t.Errorf("got %q, %v after %v, want all that was read at once", out.String(), err, took)
		}
		in.Close()
	})
}

// TestRunStopsAtOnce has nothing to drain: an endless file ends with ctx.
func TestRunStopsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in := new(counting)
	stats, err := Run(ctx, from(in), writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}), pass, Options{Failed: failing(t)})
	if err != nil || stats.BytesOut != stats.Bytes || stats.Bytes == 0 {
		t.Errorf("got %+v, %v, want all that was read to be written", stats, err)
	}
}

func TestRunSurvivesPanics(t *testing.T) {
	var made atomic.Int64
	fragile := func() Worker {
		made.Add(1)
		broken := false
		return workerFunc(func(dst []byte, b *Block) []byte {
			if broken {
				return append(dst, "a broken worker was used again\n"...)
			}
			if broken = bytes.Contains(b.Data, []byte("boom")); broken {
				_ = append(dst, "half a li"...)
				panic("boom")
			}
			return numbered(dst, b)
		})
	}
	var failures []error
	src := from(&portions{[]byte("1\nboom\n3\nboom\nlong line\n6\n"), []int{2, 5, 2, 5, 10, 2}})
	got, stats := run(t, src, fragile, Options{
		Workers: 1,
		MaxLine: 6,
		Long:    workerFunc(func([]byte, *Block) []byte { panic("boom, too") }),
		Failed:  func(err error) { failures = append(failures, err) },
	})
	if diff := cmp.Diff("in:1:1\nboom\nin:3:3\nboom\nlong line\nin:6:6\n", got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if stats.Panics != 3 || stats.Lines != stats.LinesOut || made.Load() != 3 {
		t.Errorf("got %+v and %d workers", stats, made.Load())
	}
	if len(failures) != 1 {
		t.Fatalf("reported: %v, want the first", failures)
	}
	var first *PanicError
	want := "in: near line 2: not annotated: internal error: boom"
	if !errors.As(failures[0], &first) || first.Error() != want || len(first.Stack) == 0 {
		t.Errorf("got %v, want %s", failures[0], want)
	}
}
