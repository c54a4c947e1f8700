/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Oap: a SkyWalking OAP's GraphQL, as commands ask it. Its address, token and password are settings of
 * their own (--oap, --token-file, --basic-file); TLS is that of --ca, --cert and --key. One request at a time. A fault is
 * printed here and comes back as an exit status.
 */

#include <jansson.h>

#include "ctl/cli.h"

/* Makes cli->rest that of the OAP. Return: 0 or an exit status. */
int sonde_oap_open(struct sonde_cli *cli) _must_check_;

/*
 * @variables: taken, NULL = none. *@ret_data: the member `data`, owned by the caller.
 * Return: 0 or an exit status: SONDE_CLI_UNREACHABLE (also where something else than an OAP answers),
 * SONDE_CLI_TIMEOUT, SONDE_CLI_REFUSED (no token, a wrong one), SONDE_CLI_INTERNAL (the OAP says it is in error).
 */
int sonde_oap_ask(struct sonde_cli *cli, const char *query, json_t *variables,
		  json_t **ret_data) _must_check_;

enum sonde_oap_updates {
	SONDE_OAP_UPDATES_UNKNOWN, /* it said something that no known version says */
	SONDE_OAP_UPDATES_OFF,	   /* SW_ENABLE_UPDATE_UI_TEMPLATE is not true */
	SONDE_OAP_UPDATES_ON,
};

#define SONDE_OAP_VERSION_SIZE 64

struct sonde_oap_about {
	char version[SONDE_OAP_VERSION_SIZE]; /* "10.1.0-d28dfea" */
	unsigned int major, minor;	      /* 0.0 = no number that could be read */
	enum sonde_oap_updates updates;
};

/*
 * Asks what it is, and whether templates may be changed; for that it is told to disable one that does not
 * exist, as nothing else tells. Return: 0, or an exit status: also SONDE_CLI_UNSUPPORTED (11.0 and later
 * have no templates in GraphQL).
 */
int sonde_oap_ask_about(struct sonde_cli *cli, struct sonde_oap_about *ret) _must_check_;

/* Whether @words are those of an OAP that takes no changes of templates. */
bool sonde_oap_is_update_refused(const char *words);
