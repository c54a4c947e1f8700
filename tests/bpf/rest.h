/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A snapshot at rest: TCP_INFO said the same before and after it, so that it is TCP_INFO of the snapshot's own moment. A
 * delayed ACK, or a retransmit that the machine's load brings about, comes between for nobody.
 */

#include "fixture.h"

struct tcp_info; /* of <linux/tcp.h> */

/* @fds: one or two sockets, -1: none; *@ret: of each, without how long ago something was. A failed test when they do not come to rest within a minute. */
void rest_snapshot(struct fixture *f, const int fds[2], struct tcp_info *ret);
/*
 * Sends on @fd, whose other end reads nothing, until that one's window is closed, all that went is acknowledged and the kernel
 * takes no more: by EAGAIN alone the buffer is full, and its bytes may all go yet. Return: bytes that were taken.
 * *@ret_ns, unless NULL: CLOCK_MONOTONIC behind the last of them; something is queued from then on.
 */
size_t rest_fill(int fd, uint64_t *ret_ns);
