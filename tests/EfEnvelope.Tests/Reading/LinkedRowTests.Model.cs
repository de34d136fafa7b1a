using System.Reflection;
using EfEnvelope.Tests.Functional;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Reading;

/// <summary>The entities.</summary>
public abstract partial class LinkedRowTests
{
    private sealed class Person
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public int Rank { get; set; }

        public List<Gadget> Gadgets { get; set; } = [];

        public Place? Home { get; set; }

        public Place? Work { get; set; }
    }

    private sealed class Gadget
    {
        public int Id { get; set; }

        public int Kind { get; set; }

        [Encrypted]
        public string? Serial { get; set; }

        public Box? Box { get; set; }

        public List<Mark> Screws { get; set; } = [];
    }

    private sealed class Box
    {
        [Encrypted]
        public string? Label { get; set; }
    }

    private sealed class Place
    {
        public int Number { get; set; }

        [Encrypted]
        public string? Street { get; set; }
    }

    private sealed class Mark
    {
        public int Id { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }

    private abstract class Creature
    {
        public Guid Id { get; set; } = Guid.NewGuid();

        public int Tenant { get; set; }

        public List<Mark> Rings { get; set; } = [];
    }

    private sealed class Whale : Creature;

    private sealed class Otter : Creature;

    private class Party
    {
        public int Id { get; set; }

        public int Tenant { get; set; }
    }

    private sealed class Vip : Party
    {
        public int OtherId { get; set; }

        [Encrypted]
        public string? Secret { get; set; }

        public int Bound { get; set; }

        public List<Mark> Guests { get; set; } = [];
    }

    private sealed class Folder
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        public Sheet? Cover { get; set; }

        public Sheet Back { get; set; } = new();

        public List<Sheet> Pages { get; set; } = [];

        public List<Sheet> Sheets { get; set; } = [];
    }

    private sealed class Sheet
    {
        public string? Kind { get; set; }

        [Encrypted]
        public string? Secret { get; set; }
    }

    public sealed class Draft
    {
        public int Id { get; set; }

        public int Tenant { get; set; }

        [Encrypted]
        public string? Text { get; set; }
    }
}
