package extract

import "unicode/utf8"

// A view is text as the scanner reads it, together with the way back to the line's own bytes. The text may be a piece
// of the line, that piece with its escapes decoded, or that again with its defanged forms written out: each step is a
// view of the one before it.
type view struct {
	text   []byte
	parent *view   // nil for a piece of the line itself
	offset int     // of a view without parent: where the text begins in the line
	pieces []piece // of a view with parent: its text in pieces, ordered
	last   int     // the piece asked for last
}

// A piece is a run of a view's text: copied from the parent byte by byte, or put in the place of something there.
type piece struct {
	at       int // where it begins in the text
	from, to int // what it stands for in the parent; to is not kept for copies
	copied   bool
}

// span returns the bounds in the line of what v.text[start:end] stands for; start < end.
func (v *view) span(start, end int) (int, int) {
	for ; v.parent != nil; v = v.parent {
		first, last := v.piece(start), v.piece(end-1)
		start, end = first.from+first.copiedTo(start), last.from+last.copiedTo(end-1)+1
		if !last.copied {
			end = last.to
		}
	}
	return start + v.offset, end + v.offset
}

// piece returns the piece that holds the text's byte i. It goes from the one it returned last, because what is asked
// for follows the scan: a search of all would make the time per byte grow with the line.
func (v *view) piece(i int) piece {
	n := v.last
	for n+1 < len(v.pieces) && v.pieces[n+1].at <= i {
		n++
	}
	for v.pieces[n].at > i {
		n--
	}
	v.last = n
	return v.pieces[n]
}

// copiedTo returns how far into its source the text's byte i lies.
func (p piece) copiedTo(i int) int {
	if p.copied {
		return i - p.at
	}
	return 0
}

// reset makes v an empty view of parent.
func (v *view) reset(parent *view) {
	*v = view{text: v.text[:0], pieces: v.pieces[:0], parent: parent}
}

// copy appends the parent's bytes from:to as they are.
func (v *view) copy(from, to int) {
	if from < to {
		v.pieces = append(v.pieces, piece{at: len(v.text), from: from, copied: true})
		v.text = append(v.text, v.parent.text[from:to]...)
	}
}

// put appends r in the place of the parent's bytes from:to.
func (v *view) put(r rune, from, to int) {
	v.pieces = append(v.pieces, piece{at: len(v.text), from: from, to: to})
	v.text = utf8.AppendRune(v.text, r)
}
