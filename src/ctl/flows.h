/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What `flows` and `flows -f` share. */

#include <jansson.h>

#include "base/buf.h"
#include "ctl/cli.h"

/* Prints connections as a table. Returns an exit status. */
int sonde_flows_table(struct sonde_cli *cli, const json_t *flows);

/* Prints each connection once it has ended, and, when the task has ended, those that were still open. Returns an exit status. */
int sonde_flows_follow(struct sonde_cli *cli);
