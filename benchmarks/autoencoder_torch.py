"""The autoencoder in PyTorch, for `autoencoder.py` to compare with."""

import os
import time

import numpy as np
import torch  # pyright: ignore[reportMissingImports]

VERSION = torch.__version__


class Network:
    """The same network in PyTorch, channels last.

    Its padding is ours turned by 180 degrees: with kernels and images turned, the same numbers come out.
    """

    memory = float("nan")  # PyTorch has no count of it on a CPU

    def __init__(self, autoencoder, images, learning_rate):
        torch.set_num_threads(os.cpu_count())
        config = autoencoder.config
        side = config.layer_sizes[-1]
        widths = (config.channels, *config.filters)
        silu, layers = torch.nn.SiLU, []

        def tensor(array):
            return torch.tensor(np.ascontiguousarray(array))

        for layer, before, after in zip(autoencoder.encoder.convolutions, widths, widths[1:], strict=False):
            convolution = torch.nn.Conv2d(before, after, 3, stride=2, padding=1)
            convolution.weight.data = tensor(np.asarray(layer.kernel)[::-1, ::-1].transpose(3, 2, 0, 1))
            convolution.bias.data = tensor(np.asarray(layer.bias))
            layers += [convolution, silu()]
        to_latent = torch.nn.Linear(side * side * widths[-1], config.latent_dim)
        kernel = np.asarray(autoencoder.encoder.to_latent.kernel).reshape(side, side, widths[-1], -1)
        to_latent.weight.data = tensor(
            kernel[::-1, ::-1].transpose(3, 2, 0, 1).reshape(config.latent_dim, -1)
        )
        to_latent.bias.data = tensor(np.asarray(autoencoder.encoder.to_latent.bias))
        self._encoder = torch.nn.Sequential(*layers, torch.nn.Flatten(), to_latent)

        widths = widths[::-1]
        from_latent = torch.nn.Linear(config.latent_dim, side * side * widths[0])
        kernel = np.asarray(autoencoder.decoder.from_latent.kernel).reshape(-1, side, side, widths[0])
        from_latent.weight.data = tensor(
            kernel[:, ::-1, ::-1].transpose(3, 1, 2, 0).reshape(-1, config.latent_dim)
        )
        bias = np.asarray(autoencoder.decoder.from_latent.bias).reshape(side, side, -1)
        from_latent.bias.data = tensor(bias[::-1, ::-1].transpose(2, 0, 1).ravel())
        layers = [from_latent, torch.nn.Unflatten(1, (widths[0], side, side))]
        for layer, before, after in zip(autoencoder.decoder.convolutions, widths, widths[1:], strict=False):
            convolution = torch.nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
            convolution.weight.data = tensor(np.asarray(layer.kernel).transpose(2, 3, 0, 1))
            convolution.bias.data = tensor(np.asarray(layer.bias))
            layers += [silu(), convolution]
        self._decoder = torch.nn.Sequential(*layers, torch.nn.Sigmoid())

        last = torch.channels_last
        for half in (self._encoder, self._decoder):
            half.to(memory_format=last)
        parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._optimizer = torch.optim.Adam(parameters, learning_rate, fused=True)
        turned = np.ascontiguousarray(images[:, ::-1, ::-1].transpose(0, 3, 1, 2))
        self._images = torch.tensor(turned).contiguous(memory_format=last)
        self._pixels = self._images.float() / 255
        self.losses = []
        started = time.perf_counter()
        self.step()
        self.first_step = time.perf_counter() - started
        with torch.no_grad():
            self._latents = self._encoder(self._pixels)

    def step(self):
        """Take a step."""
        x = self._images.float() / 255
        loss = torch.nn.functional.mse_loss(self._decoder(self._encoder(x)), x)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.losses.append(loss.item())

    @torch.inference_mode()
    def encode(self):
        """Encode the images."""
        self._encoder(self._pixels)

    @torch.inference_mode()
    def decode(self):
        """Decode their latents."""
        self._decoder(self._latents)
