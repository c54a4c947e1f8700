/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Address: a backend as the configuration names it: "oap.example:11800", "10.0.0.1:11800", "[fe80::1%eth0]:11800". */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SONDE_ADDRESS_HOST_MAX 256
#define SONDE_ADDRESS_TEXT_MAX (SONDE_ADDRESS_HOST_MAX + 10)

struct sonde_address {
	char host[SONDE_ADDRESS_HOST_MAX]; /* without brackets */
	uint16_t port;
};

/* @default_port: where the text has none; 0 = then it must have one. Return: 0, -EINVAL. */
int sonde_address_parse(const char *text, uint16_t default_port,
			struct sonde_address *ret) _must_check_;

/* The same from two texts of the configuration. Return: 0, -EINVAL. */
int sonde_address_make(const char *host, uint16_t port, struct sonde_address *ret) _must_check_;

/* "host:port", an IPv6 address in brackets. */
void sonde_address_format(const struct sonde_address *a, char ret[static SONDE_ADDRESS_TEXT_MAX]);

/*
 * Copies the host without its scope id, and without the dot that ends an absolute name (RFC 6066 3: SNI has none):
 * what a certificate and :authority name. It is resolved with both.
 */
void sonde_address_name(const struct sonde_address *a, char ret[static SONDE_ADDRESS_HOST_MAX]);
