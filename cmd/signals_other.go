//go:build !unix

package cmd

func noCores() {}

func ignoreLimits() {}
