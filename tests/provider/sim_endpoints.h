// SPDX-License-Identifier: MIT
#pragma once

#include "provider/sim.h"

/* Every endpoint fills call->answer and returns. */
void sim_authorize_page(struct sim_call *call);
void sim_authorize_decision(struct sim_call *call);
void sim_token(struct sim_call *call);
enum simprovider_counter sim_token_counter(struct sim_call *call); /* by its grant_type */
void sim_token_revoke(struct sim_call *call);
void sim_api_library(struct sim_call *call);
void sim_api_search(struct sim_call *call);
void sim_api_details(struct sim_call *call);
void sim_api_cover(struct sim_call *call);
void sim_platform_session(struct sim_call *call);
void sim_command_faults(struct sim_call *call);
void sim_command_reset(struct sim_call *call);
void sim_command_stats(struct sim_call *call);
void sim_command_redirected(struct sim_call *call);
void sim_page(struct sim_call *call);
