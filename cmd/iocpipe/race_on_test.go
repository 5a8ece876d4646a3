//go:build race

package main

// raceEnabled says that the programs of this test look for races, which makes them slow.
const raceEnabled = true
