package filter

import "bytes"

// blockSize is how many bytes are read at once, as far as they are there. With workers that do nothing a file passes at
// 8 GB/s with it, no faster with 1 MiB, and at half the speed with 64 KiB.
const blockSize = 256 << 10

// smallBlock is up to which size a block is copied out of the buffer it was read into, because that costs less than
// to begin a new buffer.
const smallBlock = 16 << 10

// keptBytes bounds the buffers that are used again: one huge line must not fatten every block for good.
const keptBytes = 4 * blockSize

// A Block is a run of whole lines of one input, with their endings, or a piece of one line that is too long. Only the
// last line of an input may lack its ending. Blocks are used again: nothing of one is valid after [Reader.Release].
type Block struct {
	Data   []byte // at least one line, and not to be changed; of a long line any number of bytes, none included
	Lines  int    // that end in Data, the unfinished last one of an input included
	Name   string // of the input
	ID     string // of the file behind it, whatever its name; empty unless the source tells
	Line   int64  // number of the first line within the input, from 1
	Offset int64  // of Data within the input's content, in bytes

	// Long says that Data is a piece of a line longer than the limit, in the order of reading: the piece with which
	// the line begins is First, the one with which it ends is Last (and may be empty, at the end of an input).
	Long, First, Last bool

	buf   []byte        // what Data was read into, unless it was small
	small []byte        // or what it was copied to
	spare []byte        // the worker's buffer
	out   []byte        // what leaves: Data or spare
	feeds int           // line feeds in out
	done  chan struct{} // told by the worker
}

// A Position is a place between two lines of an input: how far it was read, or written.
type Position struct {
	Name, ID string // as of a [Block]
	Offset   int64  // of the next byte within the input's content
	Line     int64  // number of the line that it belongs to, from 1
}

// end returns the position behind b.
func (b *Block) end() Position {
	return Position{b.Name, b.ID, b.Offset + int64(len(b.Data)), b.Line + int64(bytes.Count(b.Data, lineFeed))}
}

// startsLine reports whether Data begins at the beginning of a line.
func (b *Block) startsLine() bool { return !b.Long || b.First }

// endsLine reports whether Data ends at the end of a line, or of the input.
func (b *Block) endsLine() bool { return !b.Long || b.Last }

// recycle forgets what b held, but for buffers of ordinary size.
func (b *Block) recycle() {
	*b = Block{buf: kept(b.buf), small: kept(b.small), spare: kept(b.spare), done: b.done}
}

func kept(buf []byte) []byte {
	if cap(buf) > keptBytes {
		return nil
	}
	return buf
}

// leaves sets what leaves in place of b's lines.
func (b *Block) leaves(out []byte) {
	b.out = out
	if !sameArray(out, b.Data) {
		b.spare = out
	}
	b.feeds = bytes.Count(out, lineFeed)
}

// sameArray reports whether x and y end where the same array ends, as slices of one slice do.
func sameArray(x, y []byte) bool {
	return cap(x) > 0 && cap(y) > 0 && &x[:cap(x)][cap(x)-1] == &y[:cap(y)][cap(y)-1]
}

var lineFeed = []byte("\n")
