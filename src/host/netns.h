/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Netns: which namespace a process is in, by inode, and the kernel's cookie of a network namespace. */

#include <stdint.h>

#include "base/cleanup.h"

/* @kind: "net", "pid". Of the link "net:[4026531840]". Return: 0, -ESRCH, -EACCES, -EBADMSG. */
int sonde_netns_inode(int proc_fd, uint32_t pid, const char *kind, uint32_t *ret) _must_check_;

/* The number in "kind:[number]". Return: 0, -EBADMSG. */
int sonde_netns_parse(const char *link, const char *kind, uint32_t *ret) _must_check_;

/*
 * Net cookie (5.14+) of the namespace that @sock belongs to: what BPF's bpf_get_netns_cookie() says.
 * Return: 0, -ENOPROTOOPT (older kernel), -errno.
 */
int sonde_netns_cookie(int sock, uint64_t *ret) _must_check_;

/*
 * The same by a socket of another process, which is duplicated for the time of the question
 * (pidfd_getfd(2), CAP_SYS_PTRACE). @fd: its number there. Return: 0, -errno.
 */
int sonde_netns_cookie_of(uint32_t pid, int fd, uint64_t *ret) _must_check_;
