package annotate

import (
	"bytes"
	"fmt"
	"io"

	"github.com/valyala/fastjson"
)

const (
	lookAhead      = 100_000  // lines among which one is looked for that is not where it should be,
	lookAheadBytes = 64 << 20 // unless they are longer than this
	mostProblems   = 10       // that are told one by one
	mostUnpaired   = 1 << 20  // lines of a side that are kept to tell what was lost from what changed its place
	mostAlike      = 8        // lines with the same fingerprint that are compared
)

// A Comparison is what [Compare] found.
type Comparison struct {
	Lines     int64 // that went in
	Missing   int64 // of them, those that did not come out
	Reordered int64 // that came out at another place
	Changed   int64 // that came out with more or less than an annotation added
	Added     int64 // that came out and had not gone in
	FollowUps int64 // records about answers that came late, which are asked for and no lines

	Problems []string // the first few of them, safe to print
}

// OK reports whether every line came out, in its order, with nothing but an annotation added.
func (c *Comparison) OK() bool { return c.Missing+c.Reordered+c.Changed+c.Added == 0 }

// Compare compares what went into a filter with what came out of it, line by line as [VerifyLine] does, line endings
// included. Where two lines do not agree, the place at which both sides go on together tells what was lost, added or
// changed before. Its errors are the readers'. It holds no more than a part of either side at a time.
func Compare(in, out io.Reader) (Comparison, error) {
	c := comparer{
		in: newSide(in, fingerprints), out: newSide(out, func(line []byte) []uint64 { return []uint64{fingerprint(line)} }),
		extra: make(map[uint64]int64),
	}
	err := c.run()
	return c.Comparison, err
}

type comparer struct {
	Comparison
	in, out *side
	lost    [][]uint64       // the fingerprints of lines that went in and found no partner yet,
	extra   map[uint64]int64 // and how many of each came out
}

func (c *comparer) run() error {
	for {
		in, out := c.in.peek(0), c.out.peek(0)
		switch {
		case in == nil && out == nil:
			c.pairUp()
			return c.readError()
		case in != nil && out != nil && agree(in, out) == nil:
			c.step(1, 1)
		case isFollowUp(out):
			c.FollowUps++
			c.step(0, 1)
		default:
			c.resync(in, out)
		}
	}
}

func (c *comparer) readError() error {
	for _, s := range []*side{c.in, c.out} {
		if s.err != io.EOF {
			return s.err
		}
	}
	return nil
}

func (c *comparer) step(in, out int) {
	c.Lines += int64(in)
	c.in.skip(in)
	c.out.skip(out)
}

// resync handles two lines that do not agree; one may be nil, when its side has ended. Of what may have happened, that
// is taken after which more lines agree: one that is found again afar may only look like the one that is missing.
func (c *comparer) resync(in, out []byte) {
	added := c.out.nearest(in, c.in.prints, func(out []byte) bool { return agree(in, out) == nil })
	lost := c.in.nearest(out, c.out.prints, func(in []byte) bool { return agree(in, out) == nil })
	afterAdded, afterLost, afterChanged := c.agreeing(0, added), c.agreeing(lost, 0), c.agreeing(1, 1)
	switch {
	case in == nil:
		c.add(1)
	case out == nil:
		c.lose(1)
	case afterChanged >= max(afterAdded, afterLost):
		c.Changed++
		c.tell(in, "line %d: %v: ", c.Lines+1, agree(in, out))
		c.step(1, 1)
	case afterAdded > afterLost, afterAdded == afterLost && added <= lost:
		c.add(added)
	default:
		c.lose(lost)
	}
}

// agreeing returns how many lines, up to a few, agree from so many places ahead on. Ends agree, too.
func (c *comparer) agreeing(in, out int) (n int) {
	const few = 4
	for n < few {
		x, y := c.in.peek(in+n), c.out.peek(out+n)
		if (x == nil) != (y == nil) || x != nil && agree(x, y) != nil {
			break
		}
		n++
	}
	return n
}

// add takes the next n lines of the output for added.
func (c *comparer) add(n int) {
	for i := range n {
		line := c.out.peek(i)
		if isFollowUp(line) {
			c.FollowUps++
			continue
		}
		c.tell(line, "not expected before line %d: ", c.Lines+1)
		if len(c.extra) < mostUnpaired {
			c.extra[c.out.prints(content(line))[0]]++
		}
		c.Added++
	}
	c.step(0, n)
}

// lose takes the next n lines of the input for missing.
func (c *comparer) lose(n int) {
	for i := range n {
		line := c.in.peek(i)
		c.tell(line, "line %d is missing: ", c.Lines+int64(i)+1)
		if len(c.lost) < mostUnpaired {
			c.lost = append(c.lost, c.in.prints(content(line)))
		}
		c.Missing++
	}
	c.step(n, 0)
}

// pairUp finds the lines that were lost at one place and turned up at another.
func (c *comparer) pairUp() {
	for _, prints := range c.lost {
		for _, p := range prints {
			if c.extra[p] > 0 {
				c.extra[p]--
				c.Missing, c.Added, c.Reordered = c.Missing-1, c.Added-1, c.Reordered+1
				break
			}
		}
	}
}

func (c *comparer) tell(line []byte, format string, args ...any) {
	if len(c.Problems) < mostProblems {
		line, _ = cutEnding(line)
		c.Problems = append(c.Problems, fmt.Sprintf(format, args...)+Safe(string(line[:min(len(line), 200)])))
	}
}

// agree returns nil when out is in with nothing but an annotation added, its line ending included.
func agree(in, out []byte) error {
	inLine, inEnd := cutEnding(in)
	outLine, outEnd := cutEnding(out)
	if !bytes.Equal(inEnd, outEnd) {
		return fmt.Errorf("the line ending is %q instead of %q", outEnd, inEnd)
	}
	return VerifyLine(inLine, outLine)
}

// isFollowUp reports whether a line that came out is the record of an answer that came late. One that had gone in, from
// a filter before, is a line like any other: it has agreed with what went in before this is asked.
func isFollowUp(line []byte) bool {
	if !bytes.HasPrefix(line, []byte(`{"@timestamp":"`)) {
		return false
	}
	v, err := fastjson.ParseBytes(content(line))
	return err == nil && string(v.GetStringBytes("event", "kind")) == "enrichment" &&
		v.GetStringBytes("iocpipe", "late", "indicator") != nil && len(v.GetArray("threat", "enrichments")) == 1
}

func content(line []byte) []byte {
	line, _ = cutEnding(line)
	return line
}

func cutEnding(line []byte) (content, ending []byte) {
	n := len(line)
	if bytes.HasSuffix(line, []byte("\n")) {
		n = len(bytes.TrimSuffix(line[:n-1], []byte("\r")))
	}
	return line[:n], line[n:]
}
