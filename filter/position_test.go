package filter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// placedInput is one input that goes on where it was left.
type placedInput struct {
	io.Reader
	at   Position
	read bool
}

func (p *placedInput) Next() (string, error) {
	if p.read {
		return "", io.EOF
	}
	p.read = true
	return p.at.Name, nil
}

func (p *placedInput) At() (id string, offset, line int64) { return p.at.ID, p.at.Offset, p.at.Line }

// marks remembers what had been written at each position.
type marks struct {
	bytes.Buffer
	at      []Position
	written []int
	left    int      // writes until one fails; 0 for none
	next    Position // that was foretold
	leads   Position // to which the last write leads
	told    int      // positions that were foretold
}

func (m *marks) Write(p []byte) (int, error) {
	if m.left--; m.left == 0 {
		return 0, errors.New("disk full")
	}
	m.leads, m.next = m.next, Position{}
	return m.Buffer.Write(p)
}

func (m *marks) Reaching(at Position) { m.next = at }

func (m *marks) Reached(at Position) {
	if m.leads != at && m.leads != (Position{}) { // a long line may have ended before its end was seen
		panic(fmt.Sprintf("%+v was reached, and %+v foretold", at, m.leads))
	}
	if m.leads == at {
		m.told++
	}
	m.at, m.written = append(m.at, at), append(m.written, m.Len())
}

// TestPositions checks that whoever goes on at any position that was reached reads what had not been written.
func TestPositions(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		maxLine := []int{50, 30_000}[seed%2]
		in := randomLines(random, 200, maxLine)
		from := 0
		if n := bytes.IndexByte(in, '\n'); seed%3 == 0 && n >= 0 {
			from = n + 1
		}
		start := Position{"log", "1:2", int64(from), int64(bytes.Count(in[:from], lineFeed)) + 1}
		var out marks
		src := &placedInput{Reader: bytes.NewReader(in[from:]), at: start}
		if _, err := Run(t.Context(), src, &out, pass, Options{MaxLine: maxLine, Failed: failing(t)}); err != nil {
			t.Fatal(err)
		}
		if len(out.at) == 0 || out.at[len(out.at)-1].Offset != int64(len(in)) {
			t.Fatalf("seed %d: the end was not reached: %v", seed, out.at)
		}
		if out.told == 0 {
			t.Errorf("seed %d: no position was foretold", seed)
		}
		for i, at := range out.at {
			if at.Name != "log" || at.ID != "1:2" || !bytes.Equal(out.Bytes()[out.written[i]:], in[at.Offset:]) {
				t.Fatalf("seed %d: at %+v other bytes were left to read than to write", seed, at)
			}
			if line := int64(bytes.Count(in[:at.Offset], lineFeed)) + 1; at.Line != line {
				t.Fatalf("seed %d: at %+v, want line %d", seed, at, line)
			}
		}
	}
}

// TestNoPositionOfWhatWasNotWritten lets writing fail.
func TestNoPositionOfWhatWasNotWritten(t *testing.T) {
	out := marks{left: 3}
	src := &placedInput{Reader: iotestLines(strings.Repeat("line\n", 10)), at: Position{Line: 1}}
	if _, err := Run(t.Context(), src, &out, pass, Options{Failed: failing(t)}); err == nil {
		t.Fatal("no error")
	}
	if n := len(out.at); n != 2 || out.at[1].Offset != int64(out.Len()) {
		t.Errorf("reached %v, with %d bytes written", out.at, out.Len())
	}
}

// iotestLines gives one line a Read.
func iotestLines(s string) io.Reader {
	var lines []io.Reader
	for line := range strings.Lines(s) {
		lines = append(lines, strings.NewReader(line))
	}
	return io.MultiReader(lines...)
}
