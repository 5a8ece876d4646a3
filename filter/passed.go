package filter

import (
	"slices"

	"iocpipe/extract"
)

// passages are what is remembered of indicators, of at most maxPassed. Which were not met again since they were looked at
// last are forgotten first: the clock algorithm, close to the least recently met. In most logs every other event brings a new
// indicator, and then each takes the place of another, with its memory: lists in the order of meeting cost twice as much.
type passages struct {
	known    map[extract.Key]*passed
	ring     []*passed // all places; they become more up to maxPassed
	hand     int       // the place in ring that is looked at next
	meetings int       // of all
}

// A passed is a place for one indicator, which is free when it is not in known.
type passed struct {
	Passage
	key   extract.Key
	again bool       // met again since the hand was here
	first [1]Meeting // the space of Meetings until there are more: few have another
}

// get returns what is remembered of key, until that is forgotten, or nil.
func (p *passages) get(key extract.Key) *Passage {
	e, ok := p.known[key]
	if !ok {
		return nil
	}
	e.again = true
	return &e.Passage
}

// add remembers key, which is not known yet, and clones it.
func (p *passages) add(key extract.Key) *Passage {
	var e *passed
	if len(p.ring) < maxPassed {
		e = new(passed)
		p.ring = append(p.ring, e)
	} else {
		e = p.forget()
	}
	e.key = key.Clone()
	e.Meetings = e.first[:0]
	p.known[e.key] = e
	return &e.Passage
}

// forget returns a place that is free, or else one whose indicator it forgets.
func (p *passages) forget() *passed {
	for {
		e := p.ring[p.hand]
		p.hand = (p.hand + 1) % len(p.ring)
		if !e.again {
			p.remove(e)
			return e
		}
		e.again = false
	}
}

// remove frees a place, if it is not free.
func (p *passages) remove(e *passed) {
	delete(p.known, e.key)
	p.meetings -= len(e.Meetings)
	*e = passed{}
}

// take returns what is remembered of key, and forgets it.
func (p *passages) take(key extract.Key) (Passage, bool) {
	e, ok := p.known[key]
	if !ok {
		return Passage{}, false
	}
	taken := e.Passage
	taken.Meetings = slices.Clone(taken.Meetings) // the place has another one soon
	p.remove(e)
	return taken, true
}

// keys returns what is remembered.
func (p *passages) keys() (keys []extract.Key) {
	for _, e := range p.ring {
		if e.key != (extract.Key{}) {
			keys = append(keys, e.key)
		}
	}
	return keys
}
