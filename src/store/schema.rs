//! The tables as Diesel sees them: one schema for both engines.
//!
//! Written by hand beside `migrations/`; a test compares it with what the migrations really make.

diesel::table! {
    meta (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    connections (id) {
        id -> Text,
        provider -> Text,
        name -> Text,
        auth_type -> Text,
        credential -> Nullable<Text>,
        priority -> Integer,
        global_priority -> Nullable<Integer>,
        is_active -> Bool,
        default_model -> Nullable<Text>,
        max_concurrent -> Nullable<Integer>,
        rate_limit_protection -> Bool,
        group_name -> Nullable<Text>,
        provider_specific_data -> Text,
        test_status -> Text,
        last_tested -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        last_error_type -> Nullable<Text>,
        last_error_source -> Nullable<Text>,
        last_error_at -> Nullable<BigInt>,
        error_code -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    connection_state (connection_id) {
        connection_id -> Text,
        breaker -> Text,
        open_until -> Nullable<BigInt>,
        open_cycles -> Integer,
        cooldown_until -> Nullable<BigInt>,
        cooldown_reason -> Nullable<Text>,
        backoff_level -> Integer,
        terminal -> Nullable<Text>,
        since -> BigInt,
        reason -> Nullable<Text>,
        last_error -> Nullable<Text>,
        lockouts -> Text,
        generation -> BigInt,
        updated_at -> BigInt,
        learned -> Nullable<Text>,
    }
}

diesel::table! {
    nodes (id) {
        id -> Text,
        #[sql_name = "type"]
        kind -> Text,
        name -> Text,
        prefix -> Text,
        api_type -> Nullable<Text>,
        base_url -> Text,
        chat_path -> Nullable<Text>,
        models_path -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    combos (id) {
        id -> Text,
        name -> Text,
        strategy -> Text,
        is_active -> Bool,
        sort_order -> Integer,
        data -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        name -> Text,
        secret_hash -> Text,
        prefix -> Text,
        last4 -> Text,
        scopes -> Text,
        allowed_models -> Text,
        allowed_connections -> Text,
        is_active -> Bool,
        expires_at -> Nullable<BigInt>,
        max_requests_per_minute -> Nullable<Integer>,
        max_requests_per_day -> Nullable<Integer>,
        max_sessions -> Nullable<Integer>,
        no_log -> Bool,
        extra -> Text,
        created_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (id_hash) {
        id_hash -> Text,
        created_at -> BigInt,
        last_seen -> BigInt,
        expires_at -> BigInt,
        client_ip -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        subject -> Text,
        role -> Text,
        role_values -> Nullable<Text>,
        refresh_token -> Nullable<Text>,
        token_until -> Nullable<BigInt>,
        confirmed_at -> Nullable<BigInt>,
        checked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    settings (key) {
        key -> Text,
        value -> Text,
        version -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        action -> Text,
        target -> Text,
        detail -> Text,
        prev_hash -> Text,
        hash -> Text,
        status -> Text,
        resource_type -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    audit_anchors (kind) {
        kind -> Text,
        id -> BigInt,
        hash -> Text,
        at -> BigInt,
        mac -> Text,
    }
}

diesel::table! {
    sync_tokens (id) {
        id -> Text,
        name -> Text,
        secret_hash -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    usage_records (request_id) {
        request_id -> Text,
        at -> BigInt,
        key_id -> Nullable<Text>,
        connection_id -> Nullable<Text>,
        provider -> Nullable<Text>,
        model -> Nullable<Text>,
        requested_model -> Text,
        combo -> Nullable<Text>,
        status -> Integer,
        outcome -> Text,
        streamed -> Bool,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        cached_tokens -> BigInt,
        reasoning_tokens -> BigInt,
        estimated -> Bool,
        ttft_ms -> Nullable<BigInt>,
        total_ms -> BigInt,
        attempts -> Text,
    }
}

diesel::table! {
    responses (id) {
        id -> Text,
        owner -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        body -> Text,
        run_status -> Nullable<Text>,
        run_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    response_items (owner, item_id, response_id) {
        owner -> Text,
        item_id -> Text,
        response_id -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(response_items, responses);

diesel::table! {
    model_aliases (alias) {
        alias -> Text,
        target -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    model_combo_mappings (id) {
        id -> Text,
        pattern -> Text,
        combo_id -> Text,
        priority -> Integer,
        enabled -> Bool,
        description -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    fallback_chains (model) {
        model -> Text,
        chain -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    policies (id) {
        id -> Text,
        name -> Text,
        enabled -> Bool,
        priority -> Integer,
        effect -> Text,
        data -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    combo_states (combo) {
        combo -> Text,
        data -> Text,
        updated_at -> BigInt,
    }
}

diesel::table! {
    eval_suites (id) {
        id -> Text,
        name -> Text,
        description -> Text,
        cases -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    eval_runs (id) {
        id -> Text,
        group_id -> Nullable<Text>,
        suite_id -> Text,
        suite_name -> Text,
        target_type -> Text,
        target_id -> Nullable<Text>,
        key_id -> Nullable<Text>,
        status -> Text,
        run_until -> BigInt,
        total -> Integer,
        done -> Integer,
        passed -> Integer,
        failed -> Integer,
        errors -> Integer,
        prompt_tokens -> BigInt,
        completion_tokens -> BigInt,
        cost_nano_usd -> BigInt,
        latency_ms -> BigInt,
        results -> Text,
        error -> Nullable<Text>,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    model_assessments (id) {
        id -> Text,
        provider -> Text,
        model -> Text,
        status -> Text,
        categories -> Text,
        latency_ms -> Nullable<BigInt>,
        message -> Nullable<Text>,
        run_id -> Text,
        assessed_at -> BigInt,
    }
}

diesel::table! {
    model_facts (pattern) {
        pattern -> Text,
        data -> Text,
        updated_at -> BigInt,
    }
}

diesel::table! {
    oauth_tokens (connection_id) {
        connection_id -> Text,
        grant_id -> Text,
        secrets -> Text,
        about -> Text,
        version -> BigInt,
        obtained_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        renewable -> Bool,
        failure -> Nullable<Text>,
        failed_at -> Nullable<BigInt>,
        lease_owner -> Nullable<Text>,
        lease_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    oauth_logins (id_hash) {
        id_hash -> Text,
        provider -> Text,
        caller -> Text,
        kind -> Text,
        particulars -> Text,
        expires_at -> BigInt,
        ask_after -> BigInt,
        ask_every_ms -> BigInt,
    }
}

diesel::table! {
    provider_models (provider, model) {
        provider -> Text,
        model -> Text,
        data -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    synced_models (connection_id) {
        connection_id -> Text,
        models -> Text,
        synced_at -> BigInt,
    }
}

diesel::table! {
    revisions (name) {
        name -> Text,
        value -> BigInt,
    }
}
