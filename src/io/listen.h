/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Listen: a TCP socket that listens, non-blocking. Any thread. */

#include <stdint.h>

#include "base/cleanup.h"

/*
 * @address: of IPv4 or IPv6, never a name. @port 0: any free one; *@ret_port is the one that it has. *@ret_fd is the
 * caller's. Return: 0, -EINVAL (no address), -errno.
 */
int sonde_listen(const char *address, uint16_t port, int backlog, int *ret_fd,
		 uint16_t *ret_port) _must_check_;
