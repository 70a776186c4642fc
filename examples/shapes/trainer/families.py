"""One builder per architecture: (model, parts that are saved beside it)."""

import transformers as hf

SIDE, PATCH, WIDTH, HEADS = 48, 8, 128, 4
GRID = SIDE // PATCH
NORM = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2)
TOWER = dict(
    hidden_size=WIDTH,
    intermediate_size=2 * WIDTH,
    num_hidden_layers=3,
    num_attention_heads=HEADS,
    image_size=SIDE,
    patch_size=PATCH,
)
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|user|>' if m['role'] == 'user' else '<|assistant|>' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}{% endif %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_ved(tok):
    """SegFormer (convolutional patches) + GPT-2: the quickest learner."""
    encoder = hf.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 2],
        sr_ratios=[2, 1],
        hidden_sizes=[WIDTH // 2, WIDTH],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[2, 4],
        mlp_ratios=[2, 2],
        drop_path_rate=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        reshape_last_stage=False,
    )
    encoder.hidden_size = WIDTH  # SegformerConfig has none, VisionEncoderDecoder asks for it
    decoder = hf.GPT2Config(
        vocab_size=len(tok),
        n_embd=WIDTH,
        n_layer=2,
        n_head=HEADS,
        n_inner=2 * WIDTH,
        n_positions=40,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    model = hf.VisionEncoderDecoderModel(config=config)
    return (
        model,
        model.encoder,
        [
            hf.ViTImageProcessorPil(
                size={"height": SIDE, "width": SIDE}, do_convert_rgb=True, **NORM
            ),
            tok,
        ],
    )


def build_blip(tok):
    text = dict(
        vocab_size=len(tok),
        hidden_size=WIDTH,
        encoder_hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=40,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        sep_token_id=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = hf.BlipForConditionalGeneration(
        hf.BlipConfig(
            projection_dim=WIDTH,
            image_text_hidden_size=WIDTH,
            text_config=text,
            vision_config=dict(**TOWER, projection_dim=WIDTH, initializer_range=0.02),
        )
    )
    images = hf.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}, **NORM)
    return model, model.vision_model, [hf.BlipProcessor(image_processor=images, tokenizer=tok)]


def build_git(tok):
    model = hf.GitForCausalLM(
        hf.GitConfig(
            vision_config=TOWER,
            vocab_size=len(tok),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=64,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    images = hf.CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, do_center_crop=False, **NORM
    )
    return model, model.git.image_encoder, [hf.GitProcessor(image_processor=images, tokenizer=tok)]


def build_chat(tok):
    """Idefics3 (the architecture of SmolVLM): SigLIP-like tower, pixel shuffle (9 image tokens), Llama decoder."""
    token = tok.convert_tokens_to_ids
    text = dict(
        model_type="llama",
        vocab_size=len(tok),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=tok.eos_token_id,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    model = hf.Idefics3ForConditionalGeneration(
        hf.Idefics3Config(
            vision_config=TOWER,
            text_config=text,
            scale_factor=2,
            image_token_id=token("<image>"),
            pad_token_id=0,
            tie_word_embeddings=True,
        )
    )
    images = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 2 * SIDE},
        max_image_size={"longest_edge": SIDE},
        do_image_splitting=False,
        **NORM,
    )
    processor = hf.Idefics3Processor(
        images, tok, image_seq_len=GRID * GRID // 4, chat_template=CHAT_TEMPLATE
    )
    return model, model.model.vision_model, [processor]


BUILD = {"ved": build_ved, "blip": build_blip, "git": build_git, "chat": build_chat}
