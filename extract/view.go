package extract

import "unicode/utf8"

// A view is text as the scanner reads it, together with the way back to the line's own bytes. The text may be a piece
// of the line, that piece with its escapes decoded, or that again with its defanged forms written out: each step is a
// view of the one before it.
type view struct {
	text   []byte
	parent *view  // nil for a piece of the line itself
	offset int    // of a view without parent: where the text begins in the line
	edits  []edit // of a view with parent: what is not as it was, ordered; the first stands for the beginning
	last   int    // the edit asked for last
}

// An edit is a run of a view's text that stands for other bytes of the parent. What follows, up to the next edit, is the
// parent's.
type edit struct {
	at, end  int // in the text; the same where something was left out
	from, to int // in the parent
}

// span returns the bounds in the line of what v.text[start:end] stands for; start < end.
func (v *view) span(start, end int) (int, int) {
	for ; v.parent != nil; v = v.parent {
		first, last := v.edit(start), v.edit(end-1)
		if start >= first.end {
			start += first.to - first.end
		} else {
			start = first.from
		}
		if end > last.end {
			end += last.to - last.end
		} else {
			end = last.to
		}
	}
	return start + v.offset, end + v.offset
}

// edit returns the last edit that begins at the text's byte i or before. It goes from the one it returned last, because
// what is asked for follows the scan: a search of all would make the time per byte grow with the line.
func (v *view) edit(i int) edit {
	n := v.last
	for n+1 < len(v.edits) && v.edits[n+1].at <= i {
		n++
	}
	for v.edits[n].at > i {
		n--
	}
	v.last = n
	return v.edits[n]
}

// reset makes v an empty view of what stands in parent from there on.
func (v *view) reset(parent *view, from int) {
	*v = view{text: v.text[:0], edits: append(v.edits[:0], edit{from: from, to: from}), parent: parent}
}

// replace appends the parent's text up to from, and then r in the place of what goes on to to. That may begin in what
// the edit before it replaced.
func (v *view) replace(from, to int, r rune) {
	v.take(from)
	at := len(v.text)
	v.text = utf8.AppendRune(v.text, r)
	v.edits = append(v.edits, edit{at, len(v.text), from, to})
}

// remove appends the parent's text up to from and leaves out what goes on to to.
func (v *view) remove(from, to int) {
	v.take(from)
	v.edits = append(v.edits, edit{len(v.text), len(v.text), from, to})
}

// take appends the parent's text up to to.
func (v *view) take(to int) {
	if taken := v.edits[len(v.edits)-1].to; taken < to {
		v.text = append(v.text, v.parent.text[taken:to]...)
	}
}
