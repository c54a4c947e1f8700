/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Access: who sends a request, and what it may do. With tokens each request needs one; else a verified client certificate
 * says who it is; else, where neither is asked for, whoever reaches the port may do all. Of a token only its
 * SHA-256 is kept, and all of them are compared in full, so that the time says nothing. Loop thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum sonde_role {
	SONDE_ROLE_NONE = 0,
	SONDE_ROLE_VIEW,    /* reads everything, changes nothing */
	SONDE_ROLE_OPERATE, /* the rest too */
	_SONDE_ROLE_MAX,
};
extern const char *const sonde_role_name[_SONDE_ROLE_MAX];

#define SONDE_ACCESS_TOKENS_MAX 64
#define SONDE_ACCESS_NAME_MAX 64
#define SONDE_ACCESS_WHO_MAX 160

struct sonde_identity {
	enum sonde_role role;
	char who[SONDE_ACCESS_WHO_MAX]; /* "token NAME", "certificate NAME", "anyone"; "" = not known */
};

struct sonde_access;

/* @open: the role of every client that comes in, where no token is asked for. Return: 0, -ENOMEM. */
int sonde_access_new(enum sonde_role open, struct sonde_access **ret) _must_check_;
struct sonde_access *sonde_access_free(struct sonde_access *a);
SONDE_DEFINE_CLEANUP(struct sonde_access *, sonde_access_free)

/* Return: 0, -E2BIG (names, or their number), -EEXIST (the name or the token is there already), -EIO, -ENOMEM. */
int sonde_access_add(struct sonde_access *a, const char *name, enum sonde_role role,
		     const char *token) _must_check_;

/* @token and @certificate may be NULL. @ret has the role NONE where a token is needed and this is none. */
void sonde_access_identify(const struct sonde_access *a, const char *token, const char *certificate,
			   struct sonde_identity *ret);
