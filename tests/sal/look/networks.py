"""The networks that people bring, as their tutorials and papers write them, but small."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)


class Hidden(nn.Module):
    """a → tanh → b → ``between`` → c; ``between`` is a function of the network and of b's output, or the child ``act``."""

    def __init__(self, between=None, **parts: nn.Module) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        for name, part in parts.items():
            setattr(self, name, part)
        self.between = between or (lambda net, u: net.act(u))
        self.double()

    def forward(self, x):
        return self.c(self.between(self, self.b(torch.tanh(self.a(x)))))


class ResNetBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.downsample, self.relu, self.fc = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(self.relu(out), 1), 1))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.stem, self.dwconv = nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm, self.pwconv1, self.act = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU()
        self.pwconv2, self.head = nn.Linear(4 * width, width), nn.Linear(width, 2)
        self.gamma = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x):
        x = self.stem(x)
        y = self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x).permute(0, 2, 3, 1)))))
        return self.head((x + (self.gamma * y).permute(0, 3, 1, 2)).mean((2, 3)))


class ViTBlock(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.patch, self.norm1, self.norm2 = nn.Linear(12, width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.pos, self.cls = nn.Parameter(torch.randn(1, 6, width)), nn.Parameter(torch.zeros(1, 1, width))
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, width), nn.Dropout(0.1))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        x = self.patch(x)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(self.norm2(x)))[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, patches=6, width=8):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.embed, self.head = nn.Linear(12, width), nn.Linear(width, 3)
        self.token = nn.Sequential(nn.Linear(patches, 10), nn.GELU(), nn.Linear(10, patches))
        self.channel = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x):
        x = self.embed(x)
        x = x + self.token(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channel(self.norm2(x))).mean(1))


class GPTBlock(nn.Module):
    def __init__(self, flash, vocabulary=11, width=8, steps=6):
        super().__init__()
        self.wte, self.wpe, self.ln_1 = nn.Embedding(vocabulary, width), nn.Embedding(steps, width), nn.LayerNorm(width)
        self.c_attn, self.c_proj, self.ln_2 = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)
        self.c_fc, self.gelu, self.mlp_proj = nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width)
        self.dropout, self.ln_f, self.lm_head = nn.Dropout(0.1), nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight, self.flash = self.wte.weight, flash
        self.register_buffer("mask", torch.tril(torch.ones(steps, steps)))

    def forward(self, idx):
        batch, steps = idx.shape
        x = self.dropout(self.wte(idx) + self.wpe(torch.arange(steps)))
        heads = (part.view(batch, steps, 2, -1).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(x.shape[-1], 2))
        q, k, v = heads
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
            y = F.softmax(scores.masked_fill(self.mask[:steps, :steps] == 0, float("-inf")), -1) @ v
        x = x + self.dropout(self.c_proj(y.transpose(1, 2).contiguous().view(batch, steps, -1)))
        x = x + self.dropout(self.mlp_proj(self.gelu(self.c_fc(self.ln_2(x)))))
        return self.lm_head(self.ln_f(x))


class MNISTNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, 1), nn.Conv2d(4, 4, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(36, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        x = self.dropout2(F.relu(self.fc1(torch.flatten(self.dropout1(x), 1))))
        return F.log_softmax(self.fc2(x), dim=1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.fc1, self.fc2 = kind(4, 8, batch_first=True), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(self.rnn(x)[0][:, -1])))


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
        self.register_buffer("mean", torch.full((4,), 0.1))

    def forward(self, x):
        x = ((x - self.mean) / (x.std(0) + 1e-8)).clamp(-5, 5)
        return self.actor(x), self.critic(x).squeeze(-1)


class DQN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1, self.layer2, self.layer3 = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x):
        return self.layer3(F.relu(self.layer2(F.relu(self.layer1(x)))))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(20, 12), nn.Linear(12, 4), nn.Linear(12, 4)
        self.fc3, self.fc4 = nn.Linear(4, 12), nn.Linear(12, 20)

    def forward(self, x):
        h = F.relu(self.fc1(x.view(-1, 20)))
        mu, logvar = self.fc21(h), self.fc22(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


class MaskedAutoencoder(nn.Module):
    """The mask belongs to the data; its name is the one that masked layers give to their missing connections."""

    def __init__(self):
        super().__init__()
        self.encoder, self.middle, self.decoder = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 12)
        self.register_buffer("mask", torch.zeros(12).bernoulli_(0.5))
        self.middle.register_buffer("mask", torch.zeros(3))

    def forward(self, x):
        return torch.sigmoid(self.decoder(F.relu(self.middle(F.relu(self.encoder(x * self.mask))))))


class Generator(nn.Module):
    """Makes its own noise, as GANs in tutorials do."""

    def __init__(self):
        super().__init__()
        def block(n_in, n_out, normalize=True):
            norm = [nn.BatchNorm1d(n_out, 0.8)] if normalize else []
            return [nn.Linear(n_in, n_out), *norm, nn.LeakyReLU(0.2, inplace=True)]
        parts = *block(5, 16, False), *block(16, 16), *block(16, 24, False)
        self.model = nn.Sequential(*parts, nn.Linear(24, 12), nn.Tanh())  # fmt: skip

    def forward(self, n):
        return self.model(torch.randn(n, 5, dtype=torch.float64)).view(-1, 3, 4)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4))

    def forward(self, one, other):
        return F.pairwise_distance(self.encoder(one), self.encoder(other))


class Experts(nn.Module):
    """Each sample goes to one expert; the last expert is never chosen."""

    def __init__(self, last=nn.Identity):
        super().__init__()
        self.a, self.gate, self.c = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 2)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8), last()) for _ in range(3))

    def forward(self, x):
        h = torch.tanh(self.a(x))
        weights = self.gate(h).softmax(-1)
        chosen, out = weights.argmax(-1).clamp(max=1), torch.zeros_like(h)
        for i, expert in enumerate(self.experts):
            here = chosen == i
            if here.any():
                out[here] = weights[here, i, None] * expert(h[here])
        return self.c(out)


class LayerDrop(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.blocks, self.c = nn.Linear(5, 8), nn.ModuleList(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 2)
        self.dropped = set()

    def forward(self, x):
        h = torch.tanh(self.a(x))
        for i, block in enumerate(self.blocks):
            h = h if i in self.dropped else h + F.relu(block(h))
        return self.c(h)


class HandLoop(nn.Module):
    """h ← function(a(x_t) + b(h)): time first or batch first, the input layer once for all steps or once a step."""

    def __init__(self, batch_first, at_once, function=torch.tanh):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.batch_first, self.at_once, self.function = batch_first, at_once, function

    def forward(self, x):
        h, along = x.new_zeros(x.shape[0 if self.batch_first else 1], 8), 1 if self.batch_first else 0
        steps = (self.a(x) if self.at_once else x).unbind(along)
        for step in steps:
            h = self.function((step if self.at_once else self.a(step)) + self.b(h))
        return self.c(h)
