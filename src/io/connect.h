/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Connect: a TCP connection to a host by name or address, without blocking the
 * loop. An address is used as it is; a name is resolved on a short-lived thread (the C library offers no
 * other way: getaddrinfo_a() makes threads too, and cannot be left alone with them), at most
 * SONDE_CONNECT_THREADS_MAX of them a process. The addresses that it has are tried one by one, each with a
 * time-out of its own, so that a dead one costs no more than that. Loop thread only.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

#define SONDE_CONNECT_THREADS_MAX 4
#define SONDE_CONNECT_ADDRESSES_MAX 8 /* of one name; the rest is not tried */
#define SONDE_CONNECT_TEXT_MAX 64
#define SONDE_CONNECT_WORDS_MAX 400

struct sonde_connect;

/*
 * @fd >= 0: connected, non-blocking, the callee's; else -errno, and there is nothing more to try. Free the attempt
 * here or later.
 */
typedef void (*sonde_connect_fn)(void *ctx, int fd);

/*
 * @timeout_ns: of the look-up, and of each address. @shuffle: the addresses of a name in any order. @fn never runs
 * before this returns. Return: 0, -ENOMEM, -EBUSY (threads), -errno.
 */
int sonde_connect_new(sd_event *event, const char *host, uint16_t port, uint64_t timeout_ns,
		      bool shuffle, sonde_connect_fn fn, void *ctx,
		      struct sonde_connect **ret) _must_check_;

/*
 * Who answered at the address will not do (@error, @words: as sonde_connect_words(), "" = the error says it all):
 * @fn runs again, for the next one, or with @error.
 */
void sonde_connect_more(struct sonde_connect *c, int error, const char *words);

/* Why it failed, of the address that was tried last. */
const char *sonde_connect_words(const struct sonde_connect *c);

/* Gives up; @fn no longer runs. NULL is fine. Returns NULL. */
struct sonde_connect *sonde_connect_free(struct sonde_connect *c);
SONDE_DEFINE_CLEANUP(struct sonde_connect *, sonde_connect_free)
